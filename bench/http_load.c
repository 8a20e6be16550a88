/* A closed loop of HTTP/1.1 requests over keep-alive connections, cheap enough to leave the cores to the servers.
 *
 *     http_load PORT CONNECTIONS WARM_S MEASURE_S PACE_MS FILE
 *
 * FILE holds requests, each as two native 32-bit numbers, its length and the offset of its idempotency key (24 bytes,
 * or -1), and its bytes. They are sent in turn, each time with a key that was never sent before; a connection sends its
 * next request when the last is answered, and with PACE_MS no earlier than that after the last was sent.
 *
 * Prints "measuring" when the warm-up is over and a line of JSON when the measurement is. Every answer that is not a
 * 200, and every connection that breaks, is a failure; those of the warm-up count too. It ends by itself.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { KEY_BYTES = 24, HEAD_BYTES = 8192, BODY_BYTES = 65536, MOST_BREAKS = 1000, FAILURE_BYTES = 300 };

struct request { const char *bytes; uint32_t length; int32_t key; };
struct connection {
    int fd;
    char *out;               /* the request under way */
    size_t out_length, sent;
    char head[HEAD_BYTES + 1];
    size_t head_length;      /* bytes of the answer's head so far */
    int in_body, is_ok, is_waiting;
    size_t left;             /* bytes of the body still to come */
    uint64_t began, due;     /* ns: when the request was sent, when the next may be */
};

static struct request *requests;
static size_t request_count, next_request, longest;
static uint64_t key_seed, key_number;
static struct sockaddr_in server = {.sin_family = AF_INET};
static int poller;
static uint64_t pace;
static int is_measuring;
static size_t done, failures, breaks;
static char first_failure[FAILURE_BYTES + 1];
static uint32_t *latencies; /* us */
static size_t latency_room;

static void die(const char *what) {
    fprintf(stderr, "http_load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void load_requests(const char *path) {
    int fd = open(path, O_RDONLY);
    struct stat status;
    if (fd < 0 || fstat(fd, &status)) die(path);
    char *bytes = malloc((size_t)status.st_size);
    size_t size = 0;
    while (size < (size_t)status.st_size) {
        ssize_t got = read(fd, bytes + size, (size_t)status.st_size - size);
        if (got <= 0) die(path);
        size += (size_t)got;
    }
    close(fd);
    for (size_t at = 0; at + 8 <= size; request_count++) {
        requests = realloc(requests, (request_count + 1) * sizeof *requests);
        struct request *request = &requests[request_count];
        memcpy(&request->length, bytes + at, 4);
        memcpy(&request->key, bytes + at + 4, 4);
        request->bytes = bytes + at + 8;
        at += 8 + request->length;
        if (at > size) { errno = EINVAL; die(path); }
        if (request->length > longest) longest = request->length;
    }
    if (!request_count) { errno = EINVAL; die(path); }
}

static void note_failure(const char *text, size_t length) {
    failures++;
    if (*first_failure) return;
    if (length > FAILURE_BYTES) length = FAILURE_BYTES;
    for (size_t i = 0; i < length; i++) /* what JSON takes as it is */
        first_failure[i] = text[i] < ' ' || text[i] > '~' || text[i] == '"' || text[i] == '\\' ? ' ' : text[i];
}

static void watch(struct connection *c, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(poller, operation, c->fd, &event)) die("epoll_ctl");
}

static void open_connection(struct connection *c) {
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    /* On the loopback a connection stands at once or not at all. */
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&server, sizeof server)) die("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    watch(c, EPOLL_CTL_ADD, EPOLLIN);
}

static void push(struct connection *c);

static void begin(struct connection *c, uint64_t now) {
    const struct request *request = &requests[next_request++ % request_count];
    memcpy(c->out, request->bytes, request->length);
    if (request->key >= 0) {
        char key[KEY_BYTES + 1];
        snprintf(key, sizeof key, "%08x%016llx", (unsigned)key_seed, (unsigned long long)key_number++);
        memcpy(c->out + request->key, key, KEY_BYTES);
    }
    c->out_length = request->length;
    c->sent = c->head_length = c->left = 0;
    c->in_body = c->is_waiting = 0;
    c->began = now;
    c->due = now + pace;
    push(c);
}

static void reopen(struct connection *c) {
    close(c->fd);
    if (++breaks > MOST_BREAKS) { errno = ECONNRESET; die("too many connections broke"); }
    open_connection(c);
    begin(c, now_ns());
}

static void push(struct connection *c) {
    while (c->sent < c->out_length) {
        ssize_t put = send(c->fd, c->out + c->sent, c->out_length - c->sent, MSG_NOSIGNAL);
        if (put < 0 && errno == EAGAIN) { watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT); return; }
        if (put < 0) { note_failure("the connection broke", 20); reopen(c); return; }
        c->sent += (size_t)put;
    }
}

static void finish(struct connection *c) {
    uint64_t now = now_ns();
    if (is_measuring) {
        if (done == latency_room) {
            latency_room = latency_room ? latency_room * 2 : 1 << 16;
            latencies = realloc(latencies, latency_room * sizeof *latencies);
        }
        latencies[done++] = (uint32_t)((now - c->began) / 1000);
    }
    if (now >= c->due) begin(c, now); else c->is_waiting = 1;
}

/* Reads the head that is complete in c->head; what follows it there is body. */
static void read_head(struct connection *c, const char *end) {
    c->is_ok = !strncmp(c->head, "HTTP/1.1 200", 12);
    const char *length = strcasestr(c->head, "\r\ncontent-length:");
    if (!length || length > end) { errno = EPROTO; die("an answer without Content-Length"); }
    size_t total = strtoull(length + 17, NULL, 10), here = c->head_length - (size_t)(end + 4 - c->head);
    if (!c->is_ok) note_failure(c->head, c->head_length);
    c->left = total > here ? total - here : 0;
    c->in_body = 1;
}

static void pull(struct connection *c) {
    static char body[BODY_BYTES];
    for (;;) {
        char *to = c->in_body ? body : c->head + c->head_length;
        size_t room = c->in_body ? sizeof body : HEAD_BYTES - c->head_length;
        if (!room) { errno = EPROTO; die("an answer with a huge head"); }
        ssize_t got = recv(c->fd, to, room, 0);
        if (got < 0 && errno == EAGAIN) return;
        if (got <= 0) {
            if (!c->is_waiting) note_failure("the connection broke", 20);
            reopen(c);
            return;
        }
        if (c->in_body) {
            c->left -= (size_t)got < c->left ? (size_t)got : c->left;
        } else {
            c->head_length += (size_t)got;
            c->head[c->head_length] = 0;
            const char *end = strstr(c->head, "\r\n\r\n");
            if (!end) continue;
            read_head(c, end);
        }
        if (!c->left) { finish(c); return; }
    }
}

static int by_size(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double percentile(double share) { return done ? latencies[(size_t)(share * (double)(done - 1))] : 0; }

static double cpu_s(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

int main(int count, char **words) {
    if (count != 7) { fprintf(stderr, "http_load PORT CONNECTIONS WARM_S MEASURE_S PACE_MS FILE\n"); return 2; }
    int connection_count = atoi(words[2]);
    pace = (uint64_t)atoi(words[5]) * 1000000u;
    server.sin_port = htons((uint16_t)atoi(words[1]));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    load_requests(words[6]);
    poller = epoll_create1(0);
    key_seed = (now_ns() ^ (uint64_t)getpid() << 20) & 0xffffffffu;
    struct connection *connections = calloc((size_t)connection_count, sizeof *connections);
    uint64_t now = now_ns(), measure_at = now + (uint64_t)(atof(words[3]) * 1e9), end_at, began = 0;
    end_at = measure_at + (uint64_t)(atof(words[4]) * 1e9);
    for (int i = 0; i < connection_count; i++) {
        connections[i].out = malloc(longest);
        open_connection(&connections[i]);
        begin(&connections[i], now);
    }
    double cpu_before = 0;
    for (now = now_ns(); now < end_at; now = now_ns()) {
        struct epoll_event events[256];
        if (!is_measuring && now >= measure_at) {
            is_measuring = 1;
            began = now;
            cpu_before = cpu_s();
            puts("measuring");
            fflush(stdout);
        }
        /* A millisecond is how finely a paced connection is woken. */
        int ready = epoll_wait(poller, events, 256, pace ? 1 : 20);
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            if (events[i].events & EPOLLOUT) { watch(c, EPOLL_CTL_MOD, EPOLLIN); push(c); }
            if (events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP)) pull(c);
        }
        if (pace)
            for (int i = 0; i < connection_count; i++)
                if (connections[i].is_waiting && now_ns() >= connections[i].due) begin(&connections[i], now_ns());
    }
    double seconds = (double)(now - began) / 1e9, cpu = cpu_s() - cpu_before;
    qsort(latencies, done, sizeof *latencies, by_size);
    printf("{\"requests\":%zu,\"failures\":%zu,\"seconds\":%.6f,\"cpu_s\":%.6f,\"p50_us\":%.0f,\"p99_us\":%.0f,"
           "\"first_failure\":\"%s\"}\n", done, failures, seconds, cpu, percentile(0.5), percentile(0.99), first_failure);
    return 0;
}
