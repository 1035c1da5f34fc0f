/* Voxels of points: see `_voxelize_native` and `_keep_native` in data/voxelize.py, the same in numpy. */
#include "work.h"

#include <math.h>
#include <string.h>

#define DIGIT_BITS 11
#define DIGITS (1 << DIGIT_BITS)
#define MOST_DIGITS 6 /* of a key in 64 bits */
#define EXACT 8388608.0f /* from 2^23 on every float is whole */

/* x / size, rounded half to even: adding 2^23 leaves no bit for the fraction. */
static inline float to_grid(float x, float size)
{
    const float scaled = x / size, all = fabsf(scaled);
    return copysignf(all < EXACT ? (all + EXACT) - EXACT : all, scaled);
}

static int bits_of(uint64_t number)
{
    int bits = 0;
    for (; number; number >>= 1) bits++;
    return bits;
}

/* Order by the digits from bit `low` on, the last one first, stably; places[d] says how often each value of digit d
 * occurs. The result lies in `from` or in `to`. */
static uint64_t *sort(uint64_t *from, uint64_t *to, int64_t count, int low, int digits, uint32_t (*places)[DIGITS])
{
    for (int d = 0; d < digits; d++, low += DIGIT_BITS) {
        uint32_t next = 0;
        for (int v = 0; v < DIGITS; v++) {
            const uint32_t here = places[d][v];
            places[d][v] = next;
            next += here;
        }
        for (int64_t i = 0; i < count; i++) to[places[d][from[i] >> low & (DIGITS - 1)]++] = from[i];
        uint64_t *swapped = from;
        from = to;
        to = swapped;
    }
    return from;
}

/* points (points, channels), finite; coords, first_point and inverse_map have a row for each point, of which *count of
 * the first two are written. *count is -1 where this is left to numpy: no point, an axis of `limit` voxels or more, keys
 * that do not fit. 0: done; 1: no memory. */
int clusterseg_voxelize(const float *points, int32_t *coords, int64_t *first_point, int64_t *inverse_map,
                        int64_t *count, int64_t num_points, int64_t channels, float size, float limit, int threads)
{
    float low[3] = {INFINITY, INFINITY, INFINITY}, high[3] = {-INFINITY, -INFINITY, -INFINITY};
    int bits[3] = {0, 0, 0};
    (void)threads;
    /* A key with its row in 64 bits, the same sorted, and three places a point. */
    uint64_t *keys = (uint64_t *)scratch(7 * num_points);
    if (!keys) return 1;
    float *places = (float *)(keys + 2 * num_points);
    for (int64_t i = 0; i < num_points; i++)
        for (int a = 0; a < 3; a++) {
            const float place = to_grid(points[i * channels + a], size);
            places[3 * i + a] = place;
            low[a] = place < low[a] ? place : low[a];
            high[a] = place > high[a] ? place : high[a];
        }
    int fits = num_points > 0;
    for (int a = 0; fits && a < 3; a++) {
        fits = high[a] - low[a] < limit;
        if (fits) bits[a] = bits_of((uint64_t)(high[a] - low[a]));
    }
    const int row_bits = bits_of((uint64_t)num_points - 1), key_bits = bits[0] + bits[1] + bits[2];
    if (!fits || row_bits > 32 || key_bits + row_bits > 64) {
        *count = -1;
        free(keys);
        return 0;
    }
    const int digits = (key_bits + DIGIT_BITS - 1) / DIGIT_BITS;
    uint32_t often[MOST_DIGITS][DIGITS];
    memset(often, 0, (size_t)digits * sizeof(*often));
    for (int64_t i = 0; i < num_points; i++) {
        uint64_t key = 0;
        for (int a = 0; a < 3; a++)
            key = key << bits[a] | (uint64_t)(int64_t)(places[3 * i + a] - low[a]);
        keys[i] = key << row_bits | (uint64_t)i;
        for (int d = 0; d < digits; d++) often[d][key >> (d * DIGIT_BITS) & (DIGITS - 1)]++;
    }
    const uint64_t *sorted = sort(keys, keys + num_points, num_points, row_bits, digits, often);
    const uint64_t one = 1, rows = (one << row_bits) - 1, y = (one << bits[1]) - 1, z = (one << bits[2]) - 1;
    int64_t voxel = -1;
    for (int64_t i = 0; i < num_points; i++) {
        const uint64_t key = sorted[i] >> row_bits;
        const int64_t row = (int64_t)(sorted[i] & rows);
        if (i == 0 || key != sorted[i - 1] >> row_bits) {
            voxel++;
            first_point[voxel] = row;
            coords[3 * voxel] = (int32_t)(key >> (bits[1] + bits[2]));
            coords[3 * voxel + 1] = (int32_t)(key >> bits[2] & y);
            coords[3 * voxel + 2] = (int32_t)(key & z);
        }
        inverse_map[row] = voxel;
    }
    *count = voxel + 1;
    free(keys);
    return 0;
}

/* The voxels that stay, and their points: kept_points has their rows, kept_inverse their voxels among those that stay;
 * *count of each are written. 0: done; 1: no memory. */
int clusterseg_keep_voxels(const uint8_t *stays, const int32_t *coords, const int64_t *first_point,
                           const int64_t *inverse_map, int32_t *kept_coords, int64_t *kept_first, int64_t *kept_inverse,
                           int64_t *kept_points, int64_t *count, int64_t num_voxels, int64_t num_points, int threads)
{
    int64_t *number = (int64_t *)scratch(2 * num_voxels), kept = 0;
    (void)threads;
    if (!number) return 1;
    for (int64_t v = 0; v < num_voxels; v++) {
        number[v] = kept;
        if (!stays[v]) continue;
        memcpy(kept_coords + 3 * kept, coords + 3 * v, 3 * sizeof(*coords));
        kept_first[kept++] = first_point[v];
    }
    kept = 0;
    for (int64_t i = 0; i < num_points; i++) { /* no branch: a point that does not stay is written over */
        kept_points[kept] = i;
        kept_inverse[kept] = number[inverse_map[i]];
        kept += stays[inverse_map[i]];
    }
    *count = kept;
    free(number);
    return 0;
}
