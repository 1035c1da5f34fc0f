/* The Lovász-softmax loss and its gradient: see `_one_class` in losses.py, the same in numpy. */
#include "work.h"

#include <string.h>

#define DIGIT_BITS 10 /* three of them: floats from 0 to 1 have 30 bits */
#define DIGITS (1 << DIGIT_BITS)
#define LARGEST 0x3fffffffu

/* The error's bits, taken from LARGEST so that the largest comes first; twice the row, and 1 if it is of the class. */
typedef struct {
    uint32_t key, row;
} entry;

typedef struct {
    float *errors;
    const int64_t *targets, *classes;
    double *losses;
    int64_t rows;
} lovasz;

/* Order entries by key: three passes over its digits, each stable. */
static entry *sort(entry *from, entry *to, int64_t count, uint32_t (*places)[DIGITS])
{
    memset(places, 0, 3 * sizeof(*places));
    for (int64_t i = 0; i < count; i++)
        for (int d = 0; d < 3; d++) places[d][from[i].key >> (d * DIGIT_BITS) & (DIGITS - 1)]++;
    for (int d = 0; d < 3; d++) {
        uint32_t next = 0;
        for (int v = 0; v < DIGITS; v++) {
            const uint32_t here = places[d][v];
            places[d][v] = next;
            next += here;
        }
        for (int64_t i = 0; i < count; i++) to[places[d][from[i].key >> (d * DIGIT_BITS) & (DIGITS - 1)]++] = from[i];
        entry *swapped = from;
        from = to;
        to = swapped;
    }
    return from;
}

/* Loss of a class that is present, and its gradient in place of the errors. */
static void lovasz_piece(const void *given, int64_t piece, float *memory)
{
    const lovasz *job = given;
    const int64_t class = job->classes[piece], rows = job->rows;
    float *errors = job->errors + class * rows;
    uint32_t(*places)[DIGITS] = (uint32_t(*)[DIGITS])memory;
    entry *first = (entry *)(places + 3), *second = first + rows;
    float left = 0;
    double loss = 0;
    for (int64_t i = 0; i < rows; i++) {
        uint32_t bits;
        const uint32_t own = job->targets[i] == class;
        memcpy(&bits, &errors[i], sizeof(bits));
        first[i] = (entry){LARGEST - (bits >> 31 ? 0 : bits), (uint32_t)i << 1 | own};
        left += (float)own;
    }
    const entry *sorted = sort(first, second, rows, places);
    for (int64_t i = 0; i < rows; i++) {
        const uint32_t row = sorted[i].row >> 1, own = sorted[i].row & 1, bits = LARGEST - sorted[i].key;
        float error;
        memcpy(&error, &bits, sizeof(error));
        left -= (float)own;
        const float all = left + (float)(i + 1);
        const float rise = own ? 1 / all : left / (all > 2 ? all - 1 : 1) / all;
        loss += (double)(error * rise);
        errors[row] = own ? -rise : rise;
    }
    job->losses[piece] = loss;
}

/* errors (classes, rows): |truth - probability| of all classes, in place of which the gradient by the probability is
 * written, for the `count` classes listed, all of them present; their losses. Fewer than 2^24 rows. 0: done. */
int clusterseg_lovasz(float *errors, const int64_t *targets, const int64_t *classes, double *losses, int64_t count,
                      int64_t rows, int threads)
{
    const lovasz job = {.errors = errors, .targets = targets, .classes = classes, .losses = losses, .rows = rows};
    return share_work(lovasz_piece, &job, count, 3 * DIGITS + 4 * rows, threads);
}
