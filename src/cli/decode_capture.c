/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/decode_capture.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/decode_packet.h"
#include "cli/pcap_library.h"
#include "cli/text.h"

enum { BUCKETS = 4096 };

struct capture;

/* One direction, from a to b or back. */
struct direction {
    bool begun;
    uint32_t next_seq;
    enum decode_way way;
};

struct flow {
    struct flow *next;      /* in its bucket */
    struct flow *next_made; /* in the order of their first packets */
    struct capture *capture;
    bool is_ipv6;
    struct decode_endpoint a; /* the sender of its first packet */
    struct decode_endpoint b;
    bool has_bytes;
    bool left_out;
    bool replaced; /* the same ports were used for another one */
    struct direction from_a;
    struct direction from_b;
    struct decode_stream stream;
    struct decode_connection shown;
};

struct capture {
    const struct decode_capture_ops *ops;
    void *owner;
    uint16_t port;
    uint64_t first_us;
    uint64_t now_us;
    bool begun;
    size_t shown_count;
    size_t left_out_count;
    struct flow *buckets[BUCKETS];
    struct flow *made;
    struct flow **made_end;
};

bool decode_is_capture(struct slice input)
{
    static const uint32_t magics[] = {0xa1b2c3d4, 0xd4c3b2a1, 0xa1b23c4d, 0x4d3cb2a1, 0x0a0d0d0a};
    uint32_t magic;

    if (input.len < sizeof(magic)) {
        return false;
    }
    memcpy(&magic, input.ptr, sizeof(magic));
    for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++) {
        if (magic == magics[i]) {
            return true;
        }
    }
    return false;
}

/* --- flows ------------------------------------------------------------------------------------ */

static bool same_endpoint(const struct decode_endpoint *a, const struct decode_endpoint *b)
{
    return a->port == b->port && memcmp(a->address, b->address, sizeof(a->address)) == 0;
}

static uint32_t hash_endpoint(const struct decode_endpoint *e)
{
    uint32_t hash = 2166136261U; /* FNV-1a */

    for (size_t i = 0; i < sizeof(e->address); i++) {
        hash = (hash ^ e->address[i]) * 16777619U;
    }
    return (hash ^ e->port) * 16777619U;
}

static struct flow **bucket_of(struct capture *c, const struct decode_segment *s)
{
    /* The same for both directions. */
    return &c->buckets[(hash_endpoint(&s->from) + hash_endpoint(&s->to)) % BUCKETS];
}

static void on_item(void *owner, const struct decode_item *item)
{
    struct flow *f = owner;

    f->capture->ops->item(f->capture->owner, &f->shown, f->capture->now_us, item);
}

static struct flow *find_flow(struct capture *c, const struct decode_segment *s)
{
    struct flow *f;

    for (f = *bucket_of(c, s); f != NULL; f = f->next) {
        if (!f->replaced && f->is_ipv6 == s->is_ipv6 &&
            ((same_endpoint(&f->a, &s->from) && same_endpoint(&f->b, &s->to)) ||
             (same_endpoint(&f->a, &s->to) && same_endpoint(&f->b, &s->from)))) {
            return f;
        }
    }
    return NULL;
}

static struct flow *new_flow(struct capture *c, const struct decode_segment *s)
{
    struct flow **bucket = bucket_of(c, s);
    struct flow *f = calloc(1, sizeof(*f));

    if (f == NULL) {
        cli_no_memory();
    }
    f->capture = c;
    f->is_ipv6 = s->is_ipv6;
    f->a = s->from;
    f->b = s->to;
    f->from_a.way = s->syn && s->ack ? DECODE_TO_CLIENT : s->syn ? DECODE_TO_SERVER : DECODE_ANY;
    decode_stream_init(&f->stream, on_item, f);
    f->next = *bucket;
    *bucket = f;
    *c->made_end = f;
    c->made_end = &f->next_made;
    return f;
}

/* A SYN where one has already said something is another connection with the same ports. */
static struct flow *flow_of(struct capture *c, const struct decode_segment *s)
{
    struct flow *f = find_flow(c, s);

    if (f != NULL && f->has_bytes && s->syn && !s->ack) {
        f->replaced = true;
        f = NULL;
    }
    return f == NULL ? new_flow(c, s) : f;
}

/* --- who is the server ------------------------------------------------------------------------ */

static enum decode_way opposite(enum decode_way way)
{
    return way == DECODE_TO_SERVER ? DECODE_TO_CLIENT : DECODE_TO_SERVER;
}

/* By the port that was asked for, else by what the first frame is, else the lower port. */
static enum decode_way guess_way(const struct flow *f, const struct decode_segment *s)
{
    const struct wire_opcode_info *opcode =
        s->bytes.len > 1 ? wire_opcode_info((uint8_t)s->bytes.ptr[1]) : NULL;
    uint16_t port = f->capture->port;

    if (port != 0 && (s->to.port == port) != (s->from.port == port)) {
        return s->to.port == port ? DECODE_TO_SERVER : DECODE_TO_CLIENT;
    }
    if (opcode != NULL && opcode->direction != WIRE_BOTH) {
        return opcode->direction == WIRE_TO_SERVER ? DECODE_TO_SERVER : DECODE_TO_CLIENT;
    }
    return s->to.port < s->from.port ? DECODE_TO_SERVER : DECODE_TO_CLIENT;
}

static void format_peer(const struct flow *f, const struct decode_endpoint *e,
                        char out[DECODE_PEER_MAX])
{
    char address[INET6_ADDRSTRLEN] = "";

    (void)inet_ntop(f->is_ipv6 ? AF_INET6 : AF_INET, e->address, address, sizeof(address));
    (void)snprintf(out, DECODE_PEER_MAX, f->is_ipv6 ? "[%s]:%u" : "%s:%u", address,
                   (unsigned)e->port);
}

static bool begins_as_mcp(struct slice bytes)
{
    return (uint8_t)bytes.ptr[0] == WIRE_VERSION &&
           (bytes.len < 2 || wire_opcode_info((uint8_t)bytes.ptr[1]) != NULL);
}

/* With its first bytes: whether it is shown, and which way is which. */
static void begin_flow(struct flow *f, const struct decode_segment *s)
{
    struct capture *c = f->capture;
    bool is_from_a = same_endpoint(&f->a, &s->from);
    const struct decode_endpoint *server;

    f->has_bytes = true;
    if (f->from_a.way == DECODE_ANY) {
        enum decode_way way = guess_way(f, s);

        f->from_a.way = is_from_a ? way : opposite(way);
    }
    f->from_b.way = opposite(f->from_a.way);
    server = f->from_a.way == DECODE_TO_SERVER ? &f->b : &f->a;
    f->left_out = c->port != 0 ? server->port != c->port : !begins_as_mcp(s->bytes);
    if (f->left_out) {
        c->left_out_count++;
        return;
    }
    f->shown.number = ++c->shown_count;
    format_peer(f, server, f->shown.server);
    format_peer(f, server == &f->a ? &f->b : &f->a, f->shown.client);
    c->ops->began(c->owner, &f->shown);
}

/* --- segments --------------------------------------------------------------------------------- */

static void feed(struct flow *f, struct direction *d, const struct decode_segment *s)
{
    int32_t ahead = (int32_t)(s->seq - d->next_seq);
    char why[DECODE_TEXT_MAX];

    if (ahead > 0) {
        (void)snprintf(why, sizeof(why), "%" PRId32 " bytes are not here in the capture", ahead);
        decode_stream_lost(&f->stream, d->way, why);
        return;
    }
    if ((int64_t)s->length_bytes + ahead <= 0) {
        return; /* it was here before */
    }
    if (s->bytes.len > (size_t) - (int64_t)ahead) {
        decode_stream_feed(&f->stream, d->way, slice_skip(s->bytes, (size_t) - (int64_t)ahead));
    }
    if (s->bytes.len < s->length_bytes) {
        decode_stream_lost(&f->stream, d->way, "the capture holds only the beginning of a packet");
    }
    d->next_seq = s->seq + s->length_bytes;
}

static void take_segment(struct capture *c, const struct decode_segment *s)
{
    struct flow *f = flow_of(c, s);
    struct direction *d = same_endpoint(&f->a, &s->from) ? &f->from_a : &f->from_b;

    if (s->syn) {
        d->begun = true;
        d->next_seq = s->seq + 1;
        return;
    }
    if (s->length_bytes == 0 || f->left_out) {
        return;
    }
    if (!d->begun) { /* the capture began later */
        d->begun = true;
        d->next_seq = s->seq;
    }
    if (!f->has_bytes) {
        if (s->bytes.len == 0) {
            return;
        }
        begin_flow(f, s);
    }
    if (!f->left_out) {
        feed(f, d, s);
    }
}

static void end_flows(struct capture *c)
{
    while (c->made != NULL) {
        struct flow *f = c->made;

        c->made = f->next_made;
        decode_stream_end(&f->stream);
        decode_stream_fini(&f->stream);
        free(f);
    }
}

static int read_packets(struct capture *c, const struct pcap_library *pcap, pcap_t *p,
                        struct err *e)
{
    struct pcap_pkthdr *header;
    const u_char *data;
    int rv;

    while ((rv = pcap->next_ex(p, &header, &data)) == 1) {
        uint64_t us = (uint64_t)header->ts.tv_sec * 1000000U + (uint64_t)header->ts.tv_usec;
        struct decode_segment s;

        if (!c->begun) {
            c->begun = true;
            c->first_us = us;
        }
        c->now_us = us < c->first_us ? 0 : us - c->first_us;
        if (decode_packet(pcap->datalink(p), slice_of(data, header->caplen), &s)) {
            take_segment(c, &s);
        }
    }
    return rv == PCAP_ERROR_BREAK ? MCP_OK : err_set(e, MCP_EARGUMENT, "%s", pcap->geterr(p));
}

int decode_capture(struct slice input, uint16_t port, const struct decode_capture_ops *ops,
                   void *owner, size_t *others, struct err *e)
{
    char why[PCAP_ERRBUF_SIZE] = "";
    FILE *file = fmemopen((void *)(uintptr_t)input.ptr, input.len, "r"); /* is not written to */
    const struct pcap_library *pcap = pcap_library(e);
    pcap_t *p = file == NULL || pcap == NULL ? NULL : pcap->fopen_offline(file, why);
    struct capture *c;
    int rv;

    if (p == NULL) {
        if (file != NULL) {
            (void)fclose(file); /* nothing was written */
        }
        return pcap == NULL ? e->code : err_set(e, MCP_EARGUMENT, "%s", why);
    }
    if (!decode_link_is_known(pcap->datalink(p))) {
        rv = err_set(e, MCP_EARGUMENT,
                     "packets of link type %d are not read; Ethernet, Linux's "
                     "\"any\", loopback and raw IP are",
                     pcap->datalink(p));
        pcap->close(p);
        return rv;
    }
    c = calloc(1, sizeof(*c));
    if (c == NULL) {
        cli_no_memory();
    }
    *c = (struct capture){.ops = ops, .owner = owner, .port = port};
    c->made_end = &c->made;
    rv = read_packets(c, pcap, p, e);
    end_flows(c);
    *others = c->left_out_count;
    free(c);
    pcap->close(p);
    return rv;
}
