/* Find a needle in received bytes: as fast as memchr() on usual input, and in linear time on hostile input.
 *
 * The search begins with memchr(), the fastest way if the needle's first byte is rare.  A false hit shows that it is
 * not rare in this data.  From there on, 16 positions are compared at once, and only a position where both the first
 * and the last byte of the needle match is compared in full.  The cost of such comparisons is counted; when it exceeds
 * the number of bytes scanned, the caller must go on with a linear search, such as bytes.find().
 *
 * Nothing outside of data[at:size] is read.  Blocks need SSE2; other machines, and a build with SEARCH_NO_VECTORS,
 * go on with memchr().
 */
#ifndef ASYNCHAT_FAST_SEARCH_H
#define ASYNCHAT_FAST_SEARCH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SEARCH_NONE ((ptrdiff_t)-1)   /* the needle is not there */
#define SEARCH_LINEAR ((ptrdiff_t)-2) /* undecided: search linearly from *resume on */

#define SEARCH_CREDIT 256  /* bytes' worth of comparisons that any search may cost */
#define SEARCH_MEMCHR 16   /* bytes' worth of a call of memchr() that gains one position */
#define SEARCH_COMPARE 8   /* bytes' worth of a call of memcmp(), besides what it compares */

/* Compare the bytes between the first and the last one, which are known to match. */
static inline int search_fits(const char *at, const char *needle, ptrdiff_t length)
{
    return length < 3 || memcmp(at + 1, needle + 1, (size_t)(length - 2)) == 0;
}

#if !defined(SEARCH_NO_VECTORS) && (defined(__SSE2__) || defined(_M_X64))
#define SEARCH_BLOCK 16

#include <emmintrin.h>
#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
static inline ptrdiff_t search_lowest_bit(uint64_t bits)
{
    unsigned long index;
    _BitScanForward64(&index, bits);
    return (ptrdiff_t)index;
}
#else
static inline ptrdiff_t search_lowest_bit(uint64_t bits) { return __builtin_ctzll(bits); }
#endif

/* Mark the positions of a byte in a block. */
static inline __m128i search_byte(const char *at, __m128i byte)
{
    return _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)at), byte);
}

static inline uint64_t search_bits(__m128i marks) { return (uint64_t)(unsigned)_mm_movemask_epi8(marks); }

/* Return a bit for each position of a block that has the first byte of the needle and, *last* bytes on, the last. */
static inline uint64_t search_pairs(const char *at, ptrdiff_t last, __m128i head, __m128i tail)
{
    return search_bits(_mm_and_si128(search_byte(at + last, tail), search_byte(at, head)));
}

/* Skip blocks without a candidate, four at a time; return the beginning of four with one, or where fewer are left.
 *
 * The last byte is compared first, because the first one is known not to be rare.  This loop is a function of its own,
 * so small that all its values stay in registers.
 */
static inline ptrdiff_t search_skip(const char *data, ptrdiff_t stop, ptrdiff_t at, ptrdiff_t last, __m128i head,
                                    __m128i tail)
{
    for (; stop - at >= 4 * SEARCH_BLOCK; at += 4 * SEARCH_BLOCK) {
        const char *block = data + at;
        __m128i a = search_byte(block + last, tail);
        __m128i b = search_byte(block + last + SEARCH_BLOCK, tail);
        __m128i c = search_byte(block + last + 2 * SEARCH_BLOCK, tail);
        __m128i d = search_byte(block + last + 3 * SEARCH_BLOCK, tail);
        if (!search_bits(_mm_or_si128(_mm_or_si128(a, b), _mm_or_si128(c, d))))
            continue;
        a = _mm_and_si128(a, search_byte(block, head));
        b = _mm_and_si128(b, search_byte(block + SEARCH_BLOCK, head));
        c = _mm_and_si128(c, search_byte(block + 2 * SEARCH_BLOCK, head));
        d = _mm_and_si128(d, search_byte(block + 3 * SEARCH_BLOCK, head));
        if (search_bits(_mm_or_si128(_mm_or_si128(a, b), _mm_or_si128(c, d))))
            break;
    }
    return at;
}

/* Search by blocks; there must be at least one block of positions before *stop*, the end of the positions to try. */
static inline ptrdiff_t search_blocks(const char *data, ptrdiff_t stop, ptrdiff_t at, const char *needle,
                                      ptrdiff_t length, ptrdiff_t *resume)
{
    const ptrdiff_t last = length - 1;
    const __m128i head = _mm_set1_epi8(needle[0]), tail = _mm_set1_epi8(needle[last]);
    ptrdiff_t owed = at - SEARCH_CREDIT;
    for (; at < stop; at += SEARCH_BLOCK) {
        uint64_t bits;
        at = search_skip(data, stop, at, last, head, tail);
        if (stop - at < SEARCH_BLOCK)
            at = stop - SEARCH_BLOCK; /* overlaps the block before, or the last load would end beyond the data */
        bits = search_pairs(data + at, last, head, tail);
        for (; bits; bits &= bits - 1) {
            const ptrdiff_t candidate = at + search_lowest_bit(bits);
            if (search_fits(data + candidate, needle, length))
                return candidate;
            owed += SEARCH_COMPARE + length;
            if (owed > candidate) {
                *resume = candidate + 1;
                return SEARCH_LINEAR;
            }
        }
    }
    return SEARCH_NONE;
}
#endif

static inline ptrdiff_t search_hits(const char *data, ptrdiff_t stop, ptrdiff_t at, const char *needle,
                                    ptrdiff_t length, ptrdiff_t *resume)
{
    const ptrdiff_t last = length - 1;
    ptrdiff_t owed = at - SEARCH_CREDIT;
    for (; at < stop; at++) {
        const char *hit = (const char *)memchr(data + at, needle[0], (size_t)(stop - at));
        if (!hit)
            return SEARCH_NONE;
        at = hit - data;
        if (hit[last] == needle[last]) {
            if (search_fits(hit, needle, length))
                return at;
            owed += length;
        }
        owed += SEARCH_MEMCHR;
        if (owed > at) {
            *resume = at + 1;
            return SEARCH_LINEAR;
        }
    }
    return SEARCH_NONE;
}

/* Return the index of needle[:length] in data[at:size], SEARCH_NONE, or SEARCH_LINEAR with *resume set.
 *
 * *length* is at least 1; *at* may lie behind the last position where the needle would fit.
 */
static inline ptrdiff_t search_find(const char *data, ptrdiff_t size, ptrdiff_t at, const char *needle,
                                    ptrdiff_t length, ptrdiff_t *resume)
{
    const ptrdiff_t last = length - 1, stop = size - last, from = at;
    const char *hit;
    if (at >= stop)
        return SEARCH_NONE;
    hit = (const char *)memchr(data + at, needle[0], (size_t)(stop - at));
    if (!hit)
        return SEARCH_NONE;
    at = hit - data;
    if (hit[last] == needle[last] && search_fits(hit, needle, length))
        return at;
    at++;
#ifdef SEARCH_BLOCK
    if (stop - from >= SEARCH_BLOCK)
        return search_blocks(data, stop, at, needle, length, resume);
#else
    (void)from;
#endif
    return search_hits(data, stop, at, needle, length, resume);
}

#endif
