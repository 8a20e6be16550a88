/* The one client of the feed's bench: thousands of websocket connections, one thread, epoll.
 *
 * What lives here: opening connections at a bounded rate, counting the updates that arrive and timing them. What must
 * not: anything about one contender; what differs between them are arguments.
 *
 * An update is a message that begins with {"t":"upd" ; every contender sends such. Its delivery time is the moment the
 * client has read it less its "ts", which every contender stamps at its tick in whole milliseconds: the figures of all
 * carry the same 0 to 1 ms of truncation. A message that was cut in the middle is timed when its last byte came.
 *
 * Told what to do by lines on stdin (reset, report, mark, stall, resume, quit), it answers with one JSON object a line.
 *   report  what came since the last reset
 *   mark    says "all" once every connection has had an update since
 *   stall   reads nothing any more; the kernel's buffers fill, then the server's
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HEAD 160         /* bytes at the beginning of a message in which "seq" and "ts" stand */
#define BIN_US 50        /* width of a bin of the histogram of delivery times */
#define BINS 400000      /* up to 20 s */
#define PER_ADDRESS 20000 /* connections from one source address: ephemeral ports are some 28,000 */
#define READ_SIZE (256 * 1024)

enum state { UNUSED, CONNECTING, SHAKING, OPEN, CLOSED };

struct connection {
    int fd;
    enum state state;
    bool is_ready;
    uint32_t marked;       /* the last mark for which an update came */
    uint64_t left;         /* bytes of the current frame's payload that are still to come */
    uint64_t length;       /* of the current frame's payload */
    uint8_t header[10];    /* servers do not mask: 2, 4 or 10 bytes */
    unsigned header_have;
    unsigned head_have;
    char head[HEAD + 1];
};

static struct connection *connections;
static unsigned count = 1, started, in_flight, ready, closed_early;
static unsigned rate = 3000, most_in_flight = 64, port, receive_buffer;
static const char *path = "/", *subscribe = NULL, *ready_prefix = NULL;
static char extra_headers[4096];
static int epoll_fd;
static bool is_stalled;

static uint64_t updates, update_bytes, others, late;
static uint64_t first_seq, last_seq;
static uint64_t first_update_us, last_update_us, reset_us;
static uint32_t histogram[BINS];
static uint64_t slowest_us;
static uint32_t mark;
static unsigned mark_count;
static uint64_t mark_first_us, mark_seq_low, mark_seq_high;
static uint8_t buffer[READ_SIZE];

static uint64_t clock_us(clockid_t which) {
    struct timespec now;
    clock_gettime(which, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void die(const char *reason) {
    printf("{\"event\":\"failed\",\"reason\":\"%s\",\"errno\":\"%s\",\"ready\":%u}\n", reason, strerror(errno), ready);
    exit(1);
}

static void drop(struct connection *c) {
    if (c->state == CONNECTING || c->state == SHAKING) {
        die("a connection was refused or cut before its handshake was done");
    }
    close(c->fd);
    if (c->is_ready) {
        closed_early++;
    } else {
        die("a connection was closed before its subscription was confirmed");
    }
    c->state = CLOSED;
}

static void send_all(struct connection *c, const void *bytes, size_t length) {
    /* Requests, subscriptions and pongs are small and the buffer is empty: a short write is a fault. */
    if (send(c->fd, bytes, length, MSG_NOSIGNAL) != (ssize_t)length) drop(c);
}

/* A client must mask; a mask of zeros is one, and costs nothing. */
static void send_frame(struct connection *c, uint8_t opcode, const char *payload, size_t length) {
    uint8_t frame[8 + 4096] = {0x80 | opcode};
    size_t at = 2;
    if (length > 4096) die("the message to send is too long");
    if (length < 126) {
        frame[1] = 0x80 | (uint8_t)length;
    } else {
        frame[1] = 0x80 | 126;
        frame[2] = (uint8_t)(length >> 8);
        frame[3] = (uint8_t)length;
        at = 4;
    }
    memset(frame + at, 0, 4);
    memcpy(frame + at + 4, payload, length);
    send_all(c, frame, at + 4 + length);
}

static uint64_t number_after(const char *head, const char *name) {
    const char *found = strstr(head, name);
    return found ? strtoull(found + strlen(name), NULL, 10) : 0;
}

static void on_ready(struct connection *c) {
    c->is_ready = true;
    ready++;
    if (in_flight) in_flight--;
}

static void on_update(struct connection *c, uint64_t now) {
    uint64_t sent = number_after(c->head, "\"ts\":") * 1000, seq = number_after(c->head, "\"seq\":");
    uint64_t took = now > sent ? now - sent : 0;
    updates++;
    update_bytes += c->length;
    if (!first_update_us) first_update_us = now, first_seq = seq;
    last_update_us = now;
    if (seq > last_seq) last_seq = seq;
    if (took > slowest_us) slowest_us = took;
    if (took / BIN_US < BINS) {
        histogram[took / BIN_US]++;
    } else {
        late++;
    }
    if (mark && c->marked != mark) {
        c->marked = mark;
        if (!mark_count++) mark_first_us = now, mark_seq_low = mark_seq_high = seq;
        if (seq < mark_seq_low) mark_seq_low = seq;
        if (seq > mark_seq_high) mark_seq_high = seq;
        if (mark_count == ready - closed_early) {
            printf("{\"event\":\"all\",\"first_us\":%lu,\"last_us\":%lu,\"seq_low\":%lu,\"seq_high\":%lu}\n", mark_first_us,
                   now, mark_seq_low, mark_seq_high);
        }
    }
}

static void on_frame(struct connection *c, uint64_t now) {
    uint8_t opcode = c->header[0] & 0x0f;
    c->head[c->head_have] = 0;
    if (opcode == 9) {
        send_frame(c, 10, c->head, c->head_have);
    } else if (opcode == 8) {
        drop(c);
    } else if (!strncmp(c->head, "{\"t\":\"upd\"", 10)) {
        on_update(c, now);
    } else {
        others++;
        if (!c->is_ready && ready_prefix && !strncmp(c->head, ready_prefix, strlen(ready_prefix))) on_ready(c);
    }
}

/* Frames may be cut anywhere, so everything that is known of one is kept with the connection. */
static void on_bytes(struct connection *c, const uint8_t *at, size_t have, uint64_t now) {
    while (have) {
        unsigned length_code = c->header[1] & 0x7f;
        unsigned need = c->header_have < 2 ? 2 : length_code == 127 ? 10 : length_code == 126 ? 4 : 2;
        if (c->header_have < need) {
            c->header[c->header_have++] = *at++;
            have--;
            length_code = c->header[1] & 0x7f;
            need = c->header_have < 2 ? 2 : length_code == 127 ? 10 : length_code == 126 ? 4 : 2;
            if (c->header_have < need) continue;
            c->length = length_code;
            if (need > 2) {
                c->length = 0;
                for (unsigned i = 2; i < need; i++) c->length = c->length << 8 | c->header[i];
            }
            c->left = c->length;
            c->head_have = 0;
        }
        size_t take = have < c->left ? have : (size_t)c->left;
        size_t keep = take < HEAD - c->head_have ? take : HEAD - c->head_have;
        memcpy(c->head + c->head_have, at, keep);
        c->head_have += (unsigned)keep;
        at += take;
        have -= take;
        c->left -= take;
        if (!c->left) {
            on_frame(c, now);
            c->header_have = 0;
            c->header[1] = 0;
            if (c->state != OPEN) return;
        }
    }
}

static void on_handshake(struct connection *c, const char *answer, size_t have) {
    /* The answer is small and written at once: it arrives whole, perhaps with the first frames behind it. */
    const char *end = memmem(answer, have, "\r\n\r\n", 4);
    if (!end || strncmp(answer, "HTTP/1.1 101", 12)) {
        fprintf(stderr, "%.*s\n", (int)(have < 400 ? have : 400), answer);
        die("the handshake was not answered with 101");
    }
    c->state = OPEN;
    if (subscribe) send_frame(c, 1, subscribe, strlen(subscribe));
    if (!ready_prefix) on_ready(c);
    size_t used = (size_t)(end + 4 - answer);
    if (used < have) on_bytes(c, (const uint8_t *)end + 4, have - used, clock_us(CLOCK_REALTIME));
}

static void on_connected(struct connection *c) {
    char request[6000];
    int fault = 0;
    socklen_t size = sizeof fault;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &fault, &size);
    if (fault) errno = fault, drop(c);
    int length = snprintf(request, sizeof request,
                          "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n",
                          path, port, extra_headers);
    c->state = SHAKING;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &event);
    send_all(c, request, (size_t)length);
}

static void start_one(void) {
    struct connection *c = &connections[started];
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) die("no socket");
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + started / PER_ADDRESS);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    /* Closed with a reset, so that no round leaves thousands of ports waiting. */
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
    if (receive_buffer) setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    if (bind(c->fd, (struct sockaddr *)&from, sizeof from)) die("bind");
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) die("connect");
    c->state = CONNECTING;
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = c};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event)) die("epoll_ctl");
    started++;
    in_flight++;
}

static void on_event(struct connection *c) {
    if (c->state == CONNECTING) {
        on_connected(c);
        return;
    }
    ssize_t have = recv(c->fd, buffer, sizeof buffer, 0);
    if (have < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (have <= 0) {
        drop(c);
    } else if (c->state == SHAKING) {
        on_handshake(c, (char *)buffer, (size_t)have);
    } else {
        on_bytes(c, buffer, (size_t)have, clock_us(CLOCK_REALTIME));
    }
}

static uint64_t percentile_us(double share) {
    uint64_t below = 0, wanted = (uint64_t)((double)(updates - late) * share);
    for (unsigned bin = 0; bin < BINS; bin++) {
        below += histogram[bin];
        if (below > wanted) return (uint64_t)bin * BIN_US + BIN_US / 2;
    }
    return slowest_us;
}

static void report(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double cpu_s = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                   (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    printf("{\"event\":\"report\",\"updates\":%lu,\"bytes\":%lu,\"others\":%lu,\"closed\":%u,\"first_seq\":%lu,"
           "\"last_seq\":%lu,\"elapsed_us\":%lu,\"first_us\":%lu,\"last_us\":%lu,\"p50_us\":%lu,\"p99_us\":%lu,"
           "\"max_us\":%lu,\"cpu_s\":%.6f}\n",
           updates, update_bytes, others, closed_early, first_seq, last_seq, clock_us(CLOCK_MONOTONIC) - reset_us,
           first_update_us, last_update_us, percentile_us(0.50), percentile_us(0.99), slowest_us, cpu_s);
}

static void reset(void) {
    updates = update_bytes = others = late = slowest_us = first_seq = last_seq = first_update_us = last_update_us = 0;
    memset(histogram, 0, sizeof histogram);
    reset_us = clock_us(CLOCK_MONOTONIC);
    printf("{\"event\":\"reset\"}\n");
}

static void set_reading(bool is_on) {
    for (unsigned i = 0; i < started; i++) {
        struct connection *c = &connections[i];
        struct epoll_event event = {.events = is_on ? EPOLLIN : 0, .data.ptr = c};
        if (c->state == OPEN) epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &event);
    }
    is_stalled = !is_on;
    printf("{\"event\":\"%s\"}\n", is_on ? "resumed" : "stalled");
}

static void on_stdin(void) {
    static char line[256];
    static size_t have;
    ssize_t more = read(0, line + have, sizeof line - 1 - have);
    if (more <= 0) exit(0); /* whoever steers us is gone */
    have += (size_t)more;
    line[have] = 0;
    for (char *end; (end = strchr(line, '\n'));) {
        *end = 0;
        if (!strcmp(line, "report")) {
            report();
        } else if (!strcmp(line, "reset")) {
            reset();
        } else if (!strcmp(line, "mark")) {
            mark++;
            mark_count = 0;
            printf("{\"event\":\"marked\"}\n");
        } else if (!strcmp(line, "stall") || !strcmp(line, "resume")) {
            set_reading(line[0] == 'r');
        } else if (!strcmp(line, "quit")) {
            exit(0);
        } else {
            die("unknown command");
        }
        have -= (size_t)(end + 1 - line);
        memmove(line, end + 1, have + 1);
    }
}

static void read_arguments(int argc, char **argv) {
    static const struct option options[] = {
        {"port", 1, NULL, 'p'},      {"count", 1, NULL, 'n'}, {"rate", 1, NULL, 'r'},      {"in-flight", 1, NULL, 'f'},
        {"path", 1, NULL, 'P'},      {"header", 1, NULL, 'h'}, {"subscribe", 1, NULL, 's'}, {"ready", 1, NULL, 'R'},
        {"receive-buffer", 1, NULL, 'b'}, {NULL, 0, NULL, 0}};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
            case 'p': port = (unsigned)atoi(optarg); break;
            case 'n': count = (unsigned)atoi(optarg); break;
            case 'r': rate = (unsigned)atoi(optarg); break;
            case 'f': most_in_flight = (unsigned)atoi(optarg); break;
            case 'P': path = optarg; break;
            case 's': subscribe = optarg; break;
            case 'R': ready_prefix = optarg; break;
            case 'b': receive_buffer = (unsigned)atoi(optarg); break;
            case 'h':
                if (strlen(extra_headers) + strlen(optarg) + 3 > sizeof extra_headers) die("headers too long");
                strcat(strcat(extra_headers, optarg), "\r\n");
                break;
            default: exit(2);
        }
    }
}

int main(int argc, char **argv) {
    struct rlimit files;
    struct epoll_event events[512], from_stdin = {.events = EPOLLIN, .data.ptr = NULL};
    setvbuf(stdout, NULL, _IOLBF, 0);
    read_arguments(argc, argv);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    connections = calloc(count, sizeof *connections);
    epoll_fd = epoll_create1(0);
    if (!connections || epoll_fd < 0) die("no memory");
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &from_stdin);
    uint64_t began = clock_us(CLOCK_MONOTONIC);
    bool is_told = false;
    reset_us = began;
    for (;;) {
        bool is_connecting = started < count;
        if (is_connecting) {
            uint64_t due = 1 + (clock_us(CLOCK_MONOTONIC) - began) * rate / 1000000;
            while (started < count && started < due && in_flight < most_in_flight) start_one();
        }
        int got = epoll_wait(epoll_fd, events, 512, is_connecting ? 1 : -1);
        if (got < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < got; i++) {
            struct connection *c = events[i].data.ptr;
            if (!c) {
                on_stdin();
            } else if (c->state != CLOSED && (!is_stalled || c->state != OPEN)) {
                on_event(c);
            } else if (is_stalled && c->state == OPEN && events[i].events & (EPOLLHUP | EPOLLERR)) {
                drop(c);
            }
        }
        if (!is_told && ready == count) {
            is_told = true;
            printf("{\"event\":\"ready\",\"connections\":%u,\"seconds\":%.3f}\n", ready,
                   (double)(clock_us(CLOCK_MONOTONIC) - began) / 1e6);
        }
    }
}
