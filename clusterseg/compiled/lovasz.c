/* The Lovász-softmax loss and its gradient: see `_all_classes` in losses.py, the same in numpy. */
#include "work.h"

#include <string.h>

#define DIGIT_BITS 10 /* three of them: floats from 0 to 1 have 30 bits */
#define DIGITS (1 << DIGIT_BITS)
#define LARGEST 0x3fffffffu
#define BLOCK 256 /* voxels whose probabilities lie in the nearest cache */

/* The error's bits, taken from LARGEST so that the largest comes first; twice the row, and 1 if it is of the class. */
typedef struct {
    uint32_t key, row;
} entry;

typedef struct {
    const float *probabilities;
    float *gradient, *errors;
    const int64_t *voxels, *targets, *present;
    double *losses;
    int64_t count, rows, classes;
} lovasz;

/* A NaN, of either sign, stays one. */
static uint32_t key_of(float error)
{
    uint32_t bits;
    memcpy(&bits, &error, sizeof(bits));
    return LARGEST - (error < 0 ? 0 : bits & 0x7fffffffu);
}

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

/* The errors of some voxels, class by class: |truth - probability|. */
static void errors_piece(const void *given, int64_t piece, float *memory)
{
    const lovasz *job = given;
    (void)memory;
    const int64_t start = piece * BLOCK, end = smaller(start + BLOCK, job->rows);
    for (int64_t c = 0; c < job->classes; c++)
        for (int64_t i = start; i < end; i++)
            job->errors[c * job->rows + i] = job->probabilities[job->voxels[i] * job->classes + c];
    for (int64_t i = start; i < end; i++) {
        float *own = &job->errors[job->targets[i] * job->rows + i];
        *own = 1 - *own;
    }
}

/* The gradient of some voxels, out of what stands in place of their errors. */
static void gradient_piece(const void *given, int64_t piece, float *memory)
{
    const lovasz *job = given;
    (void)memory;
    const int64_t start = piece * BLOCK, end = smaller(start + BLOCK, job->rows);
    const float share = 1 / (float)job->count;
    for (int64_t k = 0; k < job->count; k++) {
        const float *from = job->errors + job->present[k] * job->rows;
        for (int64_t i = start; i < end; i++)
            job->gradient[job->voxels[i] * job->classes + job->present[k]] = share * from[i];
    }
}

/* Loss of a class that is present, and its gradient in place of the errors. */
static void class_piece(const void *given, int64_t piece, float *memory)
{
    const lovasz *job = given;
    const int64_t class = job->present[piece], rows = job->rows;
    float *errors = job->errors + class * rows;
    uint32_t(*places)[DIGITS] = (uint32_t(*)[DIGITS])memory;
    entry *first = (entry *)(places + 3), *second = first + rows;
    float left = 0;
    double loss = 0;
    uint32_t last = 0;
    for (int64_t i = 0; i < rows; i++)
        if (job->targets[i] == class) {
            const uint32_t key = key_of(errors[i]);
            last = key > last ? key : last;
            left++;
        }
    /* Behind the last voxel of the class the loss does not rise any more: what lies there is not sorted. */
    int64_t count = 0;
    for (int64_t i = 0; i < rows; i++) {
        const uint32_t key = key_of(errors[i]);
        first[count] = (entry){key, (uint32_t)i << 1 | (job->targets[i] == class)};
        count += key <= last;
        errors[i] = 0;
    }
    const entry *sorted = sort(first, second, count, places);
    for (int64_t i = 0; i < count; i++) {
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

/* Losses of the `count` classes listed in `present`, all that `targets` has, and the gradient of their mean by the
 * probabilities (voxels, classes), of which only what those classes and the `rows` voxels listed have is written. Their
 * labels are `targets`; errors (classes, rows) is for scratch. Fewer than 2^24 rows. 0: done. */
int clusterseg_lovasz(const float *probabilities, float *gradient, float *errors, const int64_t *voxels,
                      const int64_t *targets, const int64_t *present, double *losses, int64_t count, int64_t rows,
                      int64_t classes, int threads)
{
    const lovasz job = {.probabilities = probabilities, .gradient = gradient, .errors = errors, .voxels = voxels,
                        .targets = targets, .present = present, .losses = losses, .count = count, .rows = rows,
                        .classes = classes};
    const int64_t blocks = (rows + BLOCK - 1) / BLOCK;
    return share_work(errors_piece, &job, blocks, 0, threads) ||
           share_work(class_piece, &job, count, 3 * DIGITS + 4 * rows, threads) ||
           share_work(gradient_piece, &job, blocks, 0, threads);
}
