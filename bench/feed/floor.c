/* The floor of the feed's bench: as little as a websocket server can do for its subscribers.
 *
 * What lives here: the handshake, and at each tick one frame, built once, written to every socket with send(). A socket
 * that takes only a part keeps the rest and misses ticks until that is gone. Pings every 25 s. What must not: protocol,
 * subscriptions, checks, anything that a product needs; it shows what the kernel alone costs.
 *
 * floor PAYLOAD_FILE: listens on a free port of 127.0.0.1, says {"port":N}, and sends from the line "go" on stdin on.
 * The 13 digits behind "ts": in the payload become the tick's time in milliseconds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define MOST 65536
#define TICK_NS 100000000
#define TICKS_PER_PING 250
#define REQUEST_SIZE 2048

struct subscriber {
    bool is_open;      /* the handshake is done */
    char *request;     /* what has come of it until then */
    size_t have;
    uint8_t *rest;     /* what the socket did not take */
    size_t rest_length;
};

static struct subscriber subscribers[MOST]; /* by descriptor */
static int top;
static int epoll_fd;
static uint8_t frame[70000];
static size_t frame_length;
static char *stamp;

static uint32_t rotated(uint32_t word, int by) { return word << by | word >> (32 - by); }

static void sha1(const uint8_t *text, size_t length, uint8_t digest[20]) {
    uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0}, words[80];
    uint8_t padded[192] = {0}; /* a key of 24 bytes and the GUID of 36: two blocks */
    size_t blocks = (length + 8) / 64 + 1;
    memcpy(padded, text, length);
    padded[length] = 0x80;
    for (int i = 0; i < 8; i++) padded[blocks * 64 - 1 - (size_t)i] = (uint8_t)((uint64_t)length * 8 >> (8 * i));
    for (size_t block = 0; block < blocks; block++) {
        const uint8_t *at = padded + block * 64;
        for (int i = 0; i < 16; i++, at += 4) {
            words[i] = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
        }
        for (int i = 16; i < 80; i++) {
            words[i] = rotated(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
        }
        uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
        for (int i = 0; i < 80; i++) {
            uint32_t mixed = i < 20   ? ((b & c) | (~b & d)) + 0x5a827999
                             : i < 40 ? (b ^ c ^ d) + 0x6ed9eba1
                             : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc
                                      : (b ^ c ^ d) + 0xca62c1d6;
            uint32_t next = rotated(a, 5) + mixed + e + words[i];
            e = d, d = c, c = rotated(b, 30), b = a, a = next;
        }
        state[0] += a, state[1] += b, state[2] += c, state[3] += d, state[4] += e;
    }
    for (int i = 0; i < 20; i++) digest[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
}

static void base64(const uint8_t digest[20], char text[29]) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int i = 0, out = 0; i < 21; i += 3) {
        uint32_t three = (uint32_t)digest[i] << 16 | (uint32_t)digest[i + 1] << 8 | (i + 2 < 20 ? digest[i + 2] : 0);
        for (int shift = 18; shift >= 0; shift -= 6) text[out++] = letters[three >> shift & 63];
    }
    text[27] = '=';
    text[28] = 0;
}

static void forget(int fd) {
    struct subscriber *s = &subscribers[fd];
    free(s->request);
    free(s->rest);
    *s = (struct subscriber){0};
    close(fd);
}

static void on_request(int fd) {
    struct subscriber *s = &subscribers[fd];
    char joined[128], answer[256], accept[29];
    uint8_t digest[20];
    ssize_t more = recv(fd, s->request + s->have, REQUEST_SIZE - 1 - s->have, 0);
    if (more < 0 && errno == EAGAIN) return;
    if (more <= 0) {
        forget(fd);
        return;
    }
    s->have += (size_t)more;
    s->request[s->have] = 0;
    if (!strstr(s->request, "\r\n\r\n")) return;
    char *key = strcasestr(s->request, "Sec-WebSocket-Key: ");
    if (!key || strcspn(key += 19, "\r\n") != 24) {
        forget(fd);
        return;
    }
    int length = snprintf(joined, sizeof joined, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    sha1((uint8_t *)joined, (size_t)length, digest);
    base64(digest, accept);
    length = snprintf(answer, sizeof answer,
                      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      "Sec-WebSocket-Accept: %s\r\n\r\n",
                      accept);
    if (send(fd, answer, (size_t)length, MSG_NOSIGNAL) != length) {
        forget(fd);
        return;
    }
    free(s->request);
    s->request = NULL;
    s->is_open = true;
}

/* What subscribers say are pongs and the wish to go; both come whole, and only the last is of interest. */
static void on_frame(int fd) {
    uint8_t bytes[4096];
    ssize_t have = recv(fd, bytes, sizeof bytes, 0);
    if (have < 0 && errno == EAGAIN) return;
    if (have <= 0 || (bytes[0] & 0x0f) == 8) forget(fd);
}

static void on_room(int fd) {
    struct subscriber *s = &subscribers[fd];
    ssize_t sent = send(fd, s->rest, s->rest_length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EAGAIN) return;
    if (sent < 0) {
        forget(fd);
        return;
    }
    s->rest_length -= (size_t)sent;
    memmove(s->rest, s->rest + sent, s->rest_length);
    if (!s->rest_length) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        free(s->rest);
        s->rest = NULL;
        epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event);
    }
}

static void send_to_all(const uint8_t *bytes, size_t length) {
    for (int fd = 0; fd <= top; fd++) {
        struct subscriber *s = &subscribers[fd];
        if (!s->is_open || s->rest) continue;
        ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent == (ssize_t)length) continue;
        if (sent < 0 && errno != EAGAIN) {
            forget(fd);
        } else if (sent > 0) {
            struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.fd = fd};
            s->rest_length = length - (size_t)sent;
            s->rest = malloc(s->rest_length);
            if (!s->rest) abort();
            memcpy(s->rest, bytes + sent, s->rest_length);
            epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event);
        }
    }
}

static void on_tick(void) {
    static const uint8_t ping[2] = {0x89, 0};
    static unsigned ticks;
    struct timespec now;
    char digits[24];
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(digits, sizeof digits, "%013lld", (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000);
    memcpy(stamp, digits, 13);
    send_to_all(frame, frame_length);
    if (++ticks % TICKS_PER_PING == 0) send_to_all(ping, sizeof ping);
}

static void read_payload(const char *name) {
    FILE *file = fopen(name, "rb");
    if (!file) exit(2);
    size_t length = fread(frame + 4, 1, sizeof frame - 5, file);
    fclose(file);
    if (length < 126 || length > 65535) exit(2);
    frame[0] = 0x81;
    frame[1] = 126;
    frame[2] = (uint8_t)(length >> 8);
    frame[3] = (uint8_t)length;
    frame_length = length + 4;
    stamp = memmem(frame, frame_length, "\"ts\":", 5);
    if (!stamp) exit(2);
    stamp += 5;
}

static int listen_somewhere(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) || listen(fd, 4096)) exit(1);
    getsockname(fd, (struct sockaddr *)&address, &size);
    printf("{\"port\":%d}\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static void on_accept(int listener) {
    int on = 1;
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
        if (fd >= MOST) exit(1);
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        subscribers[fd] = (struct subscriber){.request = malloc(REQUEST_SIZE)};
        if (!subscribers[fd].request) abort();
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
        if (fd > top) top = fd;
    }
}

static void watch(int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event)) exit(1);
}

int main(int argc, char **argv) {
    struct rlimit files;
    struct epoll_event events[512];
    if (argc != 2) return 2;
    read_payload(argv[1]);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    epoll_fd = epoll_create1(0);
    int listener = listen_somewhere(), timer = timerfd_create(CLOCK_MONOTONIC, 0);
    watch(0);
    watch(listener);
    watch(timer);
    for (;;) {
        int got = epoll_wait(epoll_fd, events, 512, -1);
        if (got < 0 && errno != EINTR) return 1;
        for (int i = 0; i < got; i++) {
            int fd = events[i].data.fd;
            if (fd == 0) {
                char line[64];
                struct itimerspec every = {{0, TICK_NS}, {0, TICK_NS}};
                if (read(0, line, sizeof line) <= 0) return 0; /* whoever steers us is gone */
                timerfd_settime(timer, 0, &every, NULL);
            } else if (fd == listener) {
                on_accept(listener);
            } else if (fd == timer) {
                uint64_t passed;
                if (read(timer, &passed, sizeof passed) == sizeof passed) on_tick();
            } else if (!subscribers[fd].is_open) {
                if (subscribers[fd].request) on_request(fd);
            } else {
                if (events[i].events & EPOLLOUT) on_room(fd);
                if (subscribers[fd].is_open && events[i].events & ~(uint32_t)EPOLLOUT) on_frame(fd);
            }
        }
    }
}
