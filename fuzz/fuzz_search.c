/* Compare search_find() with memmem() on random input that ends where no memory may be read.
 *
 *   fuzz_search SECONDS [SEED [CASES]]      at least so many seconds, and at least so many cases
 *
 * tools/fuzz.sh builds it under sanitizers, with and without vectors; tests/test_search.py runs it for a moment.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "../asynchat_fast/_search.h"

enum { ROOM = 16384, LONGEST = 5000 };

static uint64_t state;

static uint64_t random_below(uint64_t bound)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return bound ? (state >> 16) % bound : 0;
}

/* Return the end of ROOM bytes behind which a page may not be read. */
static char *guarded(void)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (ROOM + page - 1) / page * page;
    char *start = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED || mprotect(start + room, page, PROT_NONE)) {
        perror("mmap");
        exit(2);
    }
    return start + room;
}

static void fill(char *at, ptrdiff_t size, unsigned letters)
{
    static const char alphabet[] = {'\r', '\n', 'a', '.', 0, (char)0xff, 'b', 'c'};
    while (size-- > 0)
        *at++ = alphabet[random_below(letters)];
}

/* Small sizes mostly, as their corners are many. */
static ptrdiff_t random_size(void)
{
    static const uint64_t bounds[] = {20, 80, 80, 300, 300, 2000, ROOM};
    return (ptrdiff_t)random_below(bounds[random_below(7)]);
}

/* Return false after a wrong result; count in *linear how often the linear search was asked for. */
static int one_case(char *data_end, char *needle_end, long *linear)
{
    const ptrdiff_t size = random_size();
    const ptrdiff_t length = 1 + (ptrdiff_t)random_below((uint64_t[]){1, 4, 8, 40, LONGEST}[random_below(5)]);
    const unsigned letters = 1 + (unsigned)random_below(8);
    char *data = data_end - size, *needle = needle_end - length;
    fill(data, size, letters);
    fill(needle, length, letters);
    if (size >= length && random_below(2))
        memcpy(needle, data + random_below((uint64_t)(size - length + 1)), (size_t)length);
    if (random_below(3) == 0)
        needle[random_below((uint64_t)length)] = 'x'; /* nearly found, over and over */
    const ptrdiff_t at = (ptrdiff_t)random_below((uint64_t)size + 3);
    const char *hit = at < size ? memmem(data + at, (size_t)(size - at), needle, (size_t)length) : NULL;
    const ptrdiff_t expected = hit ? hit - data : SEARCH_NONE;
    ptrdiff_t resume = -7, found = search_find(data, size, at, needle, length, &resume);
    if (found == SEARCH_LINEAR) {
        ++*linear;
        if (resume > at && resume <= size && (!hit || resume <= expected))
            return 1;
    } else if (found == expected && resume == -7)
        return 1;
    printf("size %td, length %td, at %td: expected %td, found %td, resume %td\n", size, length, at, expected, found,
           resume);
    return 0;
}

int main(int count, char **arguments)
{
    const double seconds = count > 1 ? atof(arguments[1]) : 10;
    const uint64_t seed = count > 2 ? strtoull(arguments[2], NULL, 10) : (uint64_t)time(NULL);
    const long cases = count > 3 ? atol(arguments[3]) : 0;
    const time_t end = time(NULL) + (time_t)seconds;
    char *data_end = guarded(), *needle_end = guarded();
    long done = 0, linear = 0;
    state = seed * 0x9e3779b97f4a7c15u | 1;
    for (; done < cases || (done % 1000 || time(NULL) < end); done++) {
        if (!one_case(data_end, needle_end, &linear)) {
            printf("seed %llu, case %ld\n", (unsigned long long)seed, done);
            return 1;
        }
    }
    printf("%ld cases with seed %llu, %ld of them to be searched linearly\n", done, (unsigned long long)seed, linear);
    return 0;
}
