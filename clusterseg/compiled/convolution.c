/* Sparse convolution on the CPU: gather, multiply and sum in one pass, without gathered rows or products in memory.
 *
 * Plain C with the vector extensions of GCC and Clang, called through ctypes; float32, row-major. The sums of an output
 * row run over the kernel offsets in order, and over the channels within an offset, whatever the number of threads.
 */
#include "work.h"

#include <string.h>

#define WIDTH 16        /* columns of a panel: one vector of AVX-512, two of AVX2, four of NEON */
#define TILE_ROWS 512   /* output rows whose sums stay in cache */
#define CHUNK_PAIRS 64 /* pairs summed in registers before they are added to a weight's gradient */

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

static int64_t panels_of(int64_t channels) { return (channels + WIDTH - 1) / WIDTH; }

typedef void run_function(const float *, const int64_t *, const int64_t *, int64_t, int64_t, const float *, float *,
                          int64_t, int64_t);
typedef void chunk_function(const float *const *, const float *const *, int64_t, float *, int64_t, int64_t);

/* The inner loops once for each kind of processor, with as many rows at a time as it has registers for. */
#define NAMED(name) name##_plain
#define TARGET
#define LANES 4
#if defined(__aarch64__)
#define BLOCK 6
#else
#define BLOCK 2
#endif
#define HALF 2
#include "loops.h"

#if defined(__x86_64__) && !defined(CLUSTERSEG_PLAIN)
#define NAMED(name) name##_avx2
#define TARGET __attribute__((target("avx2,fma")))
#define LANES 8
#define BLOCK 6
#define HALF 4
#include "loops.h"

#define NAMED(name) name##_avx512
#define TARGET __attribute__((target("avx512f,avx512vl,avx512dq,fma")))
#define LANES 16
#define BLOCK 12
#define HALF 8
#include "loops.h"
#endif

static run_function *run = run_plain;
static chunk_function *chunk = chunk_plain;

#if defined(__x86_64__) && !defined(CLUSTERSEG_PLAIN)
__attribute__((constructor)) static void choose(void)
{
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
        run = run_avx512;
        chunk = chunk_avx512;
    } else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        run = run_avx2;
        chunk = chunk_avx2;
    }
}
#endif

typedef struct {
    const float *feats, *weight, *bias, *grad;
    float *output;
    const int64_t *in_rows, *out_rows, *starts;
    int64_t offsets, center, rows, c_in, c_out, block;
    int relu;
} convolution;

/* First pair of [start, stop) whose output row is at least `row`. */
static int64_t first_pair(const int64_t *out_rows, int64_t start, int64_t stop, int64_t row)
{
    while (start < stop) {
        const int64_t middle = start + (stop - start) / 2;
        if (out_rows[middle] < row) start = middle + 1;
        else stop = middle;
    }
    return start;
}

static void convolve_tile(const void *given, int64_t index, float *sums)
{
    const convolution *job = given;
    const int64_t first = index * TILE_ROWS, last = smaller(first + TILE_ROWS, job->rows);
    const int64_t panels = panels_of(job->c_out), width = panels * WIDTH;
    memset(sums, 0, (size_t)((last - first) * width) * sizeof(float));
    for (int64_t k = 0; k < job->offsets; k++) {
        const float *weight = job->weight + k * job->c_in * width;
        if (k == job->center) {
            run(job->feats, NULL, NULL, last - first, first, weight, sums, job->c_in, panels);
            continue;
        }
        const int64_t a = first_pair(job->out_rows, job->starts[k], job->starts[k + 1], first);
        const int64_t b = first_pair(job->out_rows, a, job->starts[k + 1], last);
        run(job->feats, job->in_rows + a, job->out_rows + a, b - a, first, weight, sums, job->c_in, panels);
    }
    for (int64_t row = first; row < last; row++) {
        const float *from = sums + (row - first) * width;
        float *to = job->output + row * job->c_out;
        for (int64_t c = 0; c < job->c_out; c++) {
            const float value = from[c] + (job->bias ? job->bias[c] : 0);
            to[c] = job->relu && value < 0 ? 0 : value;
        }
    }
}

/* Weights as panels of WIDTH columns, so that a panel is read in one go; the last one is filled up with zeros. */
static float *pack(const float *weight, int64_t offsets, int64_t c_in, int64_t c_out, int transposed, int mirrored)
{
    const int64_t panels = panels_of(c_out), width = panels * WIDTH;
    float *packed = scratch(offsets * c_in * width);
    if (!packed) return NULL;
    memset(packed, 0, (size_t)(offsets * c_in * width) * sizeof(float));
    for (int64_t k = 0; k < offsets; k++) {
        const float *from = weight + (mirrored ? offsets - 1 - k : k) * c_in * c_out;
        float *to = packed + k * c_in * width;
        for (int64_t c = 0; c < c_in; c++)
            for (int64_t d = 0; d < c_out; d++)
                to[(d / WIDTH * c_in + c) * WIDTH + d % WIDTH] = transposed ? from[d * c_in + c] : from[c * c_out + d];
    }
    return packed;
}

/* output[o] = sum over pairs (i, o, k) of feats[i] @ weight[k] (+ bias, then ReLU).
 *
 * Pairs lie in order of k, those of k in [starts[k], starts[k + 1]), by output row within k. Under `center` (or -1) every
 * row meets itself. `transposed`: weight[k] is (c_out, c_in); `mirrored`: weight[offsets - 1 - k] is meant. 0: done. */
int clusterseg_convolve(const float *feats, const float *weight, const float *bias, float *output,
                        const int64_t *in_rows, const int64_t *out_rows, const int64_t *starts, int64_t offsets,
                        int64_t center, int64_t rows, int64_t c_in, int64_t c_out, int transposed, int mirrored,
                        int relu, int threads)
{
    float *packed = pack(weight, offsets, c_in, c_out, transposed, mirrored);
    if (!packed) return 1;
    const convolution job = {.feats = feats, .weight = packed, .bias = bias, .output = output, .in_rows = in_rows,
                             .out_rows = out_rows, .starts = starts, .offsets = offsets, .center = center,
                             .rows = rows, .c_in = c_in, .c_out = c_out, .relu = relu};
    const int64_t tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
    const int failed = share_work(convolve_tile, &job, tiles, TILE_ROWS * panels_of(c_out) * WIDTH, threads);
    free(packed);
    return failed;
}

/* The rows of a chunk of pairs, on their way into cache. */
typedef struct {
    const float *left[CHUNK_PAIRS], *right[CHUNK_PAIRS];
    int64_t pairs;
} rows_of_chunk;

static void look_up(const convolution *job, int dense, int64_t first, int64_t stop, int64_t c, int64_t channels,
                    rows_of_chunk *found)
{
    found->pairs = smaller(CHUNK_PAIRS, stop - first);
    for (int64_t q = 0; q < found->pairs; q++) {
        const int64_t p = first + q;
        found->left[q] = job->feats + (dense ? p : job->in_rows[p]) * job->c_in + c;
        found->right[q] = job->grad + (dense ? p : job->out_rows[p]) * job->c_out;
        for (int64_t d = 0; d < channels; d += WIDTH) __builtin_prefetch(found->left[q] + d);
        for (int64_t d = 0; d < job->c_out; d += WIDTH) __builtin_prefetch(found->right[q] + d);
    }
}

/* The gradient of `block` input channels of one weight. */
static void weight_piece(const void *given, int64_t index, float *memory)
{
    const convolution *job = given;
    const int64_t blocks = (job->c_in + job->block - 1) / job->block;
    const int64_t k = index / blocks, c = index % blocks * job->block, channels = smaller(job->block, job->c_in - c);
    const int64_t panels = panels_of(job->c_out), width = panels * WIDTH;
    const int dense = k == job->center, ragged = width != job->c_out;
    const int64_t start = dense ? 0 : job->starts[k], stop = dense ? job->rows : job->starts[k + 1];
    float *padded = memory + job->block * width;
    rows_of_chunk chunks[2];
    memset(memory, 0, (size_t)((job->block + CHUNK_PAIRS) * width) * sizeof(float));
    if (stop > start) look_up(job, dense, start, stop, c, channels, &chunks[0]);
    for (int64_t p = start, turn = 0; p < stop; p += CHUNK_PAIRS, turn = !turn) {
        rows_of_chunk *now = &chunks[turn];
        if (p + CHUNK_PAIRS < stop) look_up(job, dense, p + CHUNK_PAIRS, stop, c, channels, &chunks[!turn]);
        for (int64_t q = 0; ragged && q < now->pairs; q++) {
            memcpy(padded + q * width, now->right[q], (size_t)job->c_out * sizeof(float));
            now->right[q] = padded + q * width;
        }
        chunk(now->left, now->right, now->pairs, memory, channels, panels);
    }
    for (int64_t r = 0; r < channels; r++)
        memcpy(job->output + (k * job->c_in + c + r) * job->c_out, memory + r * width,
               (size_t)job->c_out * sizeof(float));
}

/* output[k] = sum over pairs (i, o, k) of feats[i]^T grad[o]; pairs as above. 0: done. */
int clusterseg_weight_gradient(const float *feats, const float *grad, float *output, const int64_t *in_rows,
                               const int64_t *out_rows, const int64_t *starts, int64_t offsets, int64_t center,
                               int64_t rows, int64_t c_in, int64_t c_out, int threads)
{
    const int64_t width = panels_of(c_out) * WIDTH, block = 96;
    const convolution job = {.feats = feats, .grad = grad, .output = output, .in_rows = in_rows, .out_rows = out_rows,
                             .starts = starts, .offsets = offsets, .center = center, .rows = rows, .c_in = c_in,
                             .c_out = c_out, .block = block};
    const int64_t pieces = offsets * ((c_in + block - 1) / block);
    return share_work(weight_piece, &job, pieces, (block + CHUNK_PAIRS) * width, threads);
}
