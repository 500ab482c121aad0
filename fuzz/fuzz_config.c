/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: any configuration file. It is refused with a text that names the file first, or
 * what it gives is within the limits of the table of keys. The file stands in a directory of its
 * own, so that names of other files in it lead nowhere. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "gateway/config.h"
#include "gateway/config_item.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char directory[64];
static char path[80];
static int fd = -1;

static void remove_file(void)
{
    (void)unlink(path);
    (void)rmdir(directory);
}

static void make_file(void)
{
    const char *tmp = getenv("TMPDIR");

    (void)snprintf(directory, sizeof(directory), "%.40s/mcpgate-XXXXXX",
                   tmp == NULL ? "/tmp" : tmp);
    ASSERT(mkdtemp(directory) != NULL);
    (void)snprintf(path, sizeof(path), "%s/c.yaml", directory);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ASSERT(fd >= 0 && atexit(remove_file) == 0);
}

/* Those of a section of `owner`; NULL: of the configuration itself. */
static void check_numbers(const char *section, const void *owner)
{
    for (size_t i = 0; i < CONFIG_ITEM_COUNT; i++) {
        const struct config_item *item = &config_items[i];
        bool is_its =
            section == NULL ? config_item_is_single(item) : strcmp(item->section, section) == 0;

        if (is_its && (item->type == CONFIG_TYPE_COUNT || item->type == CONFIG_TYPE_SIZE ||
                       item->type == CONFIG_TYPE_TIME)) {
            uint64_t value;

            memcpy(&value, (const char *)owner + item->offset, sizeof(value));
            ASSERT(value >= item->least && value <= item->most);
        }
    }
}

static void check_keys_and_routes(const struct config *c)
{
    for (size_t i = 0; i < c->key_count; i++) {
        check_numbers("keys", &c->keys[i]);
    }
    for (size_t i = 0; i < c->route_count; i++) {
        const struct config_route *r = &c->routes[i];

        ASSERT(r->name != NULL && config_route_find(c, slice_str(r->name)) != NULL);
        check_numbers("routes", r);
        for (size_t k = 0; k < r->arm_count; k++) {
            ASSERT(r->arms[k].model != NULL);
            check_numbers("arms", &r->arms[k]);
        }
    }
}

static void check_nodes(const struct config *c)
{
    ASSERT(c->node_count > 0);
    for (size_t i = 0; i < c->node_count; i++) {
        ASSERT(c->nodes[i].url != NULL && c->nodes[i].name != NULL);
        for (size_t j = 0; j < i; j++) {
            ASSERT(strcmp(c->nodes[i].name, c->nodes[j].name) != 0);
        }
        for (size_t j = 0; j < c->nodes[i].header_count; j++) {
            const struct config_header *h = &c->nodes[i].headers[j];

            ASSERT(strpbrk(h->name, "\r\n: ") == NULL && strpbrk(h->value, "\r\n") == NULL);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config_args args = {.path = path};
    struct config *c;
    struct err e = {0};

    if (fd < 0) {
        make_file();
    }
    ASSERT(ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
    c = config_load(&args, &e);
    if (c == NULL) {
        ASSERT(e.code < 0 && strncmp(e.text, path, strlen(path)) == 0);
        return 0;
    }
    check_numbers(NULL, c);
    check_keys_and_routes(c);
    check_nodes(c);
    for (size_t i = 0; i < c->key_count; i++) {
        ASSERT(c->keys[i].name != NULL && c->keys[i].key[0] != '\0');
    }
    config_unref(&c);
    return 0;
}
