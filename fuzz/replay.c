/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzz target over files without libFuzzer, so with any compiler.
 *   usage: fuzz_NAME FILE|DIRECTORY... */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char current[4096];
static unsigned long count;

static void fail(const char *what)
{
    (void)fprintf(stderr, "replay: %s: ", current);
    perror(what);
    exit(2);
}

static void replay_file(size_t size)
{
    FILE *f = fopen(current, "re");
    uint8_t *data = malloc(size); /* of that size, so that a byte behind the end is an error */

    if (f == NULL || (data == NULL && size > 0) || fread(data, 1, size, f) != size) {
        fail("cannot be read");
    }
    (void)fclose(f);                        /* was only read */
    (void)fprintf(stderr, "%s\n", current); /* the last one is what failed */
    (void)LLVMFuzzerTestOneInput(data, size);
    free(data);
    count++;
}

static void replay(size_t len)
{
    struct dirent **names;
    struct stat st;
    int n;

    if (stat(current, &st) != 0) {
        fail("cannot be read");
    }
    if (!S_ISDIR(st.st_mode)) {
        replay_file((size_t)st.st_size);
        return;
    }
    n = scandir(current, &names, NULL, alphasort);
    if (n < 0) {
        fail("cannot be read");
    }
    for (int i = 0; i < n; i++) {
        if (names[i]->d_name[0] != '.') {
            int more = snprintf(current + len, sizeof(current) - len, "/%s", names[i]->d_name);

            if (more < 0 || (size_t)more >= sizeof(current) - len) {
                fail("name too long");
            }
            replay(len + (size_t)more);
            current[len] = '\0';
        }
        free(names[i]);
    }
    free(names);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        int len = snprintf(current, sizeof(current), "%s", argv[i]);

        if (len < 0 || (size_t)len >= sizeof(current)) {
            fail("name too long");
        }
        replay((size_t)len);
    }
    if (count == 0) {
        (void)fprintf(stderr, "replay: no inputs\n");
        return 2;
    }
    (void)printf("%lu inputs\n", count);
    return 0;
}
