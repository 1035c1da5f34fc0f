/* Sparse convolution on the CPU: gather, multiply and sum in one pass, without gathered rows or products in memory.
 *
 * Plain C with the vector extensions of GCC and Clang, called through ctypes; float32, row-major. The sums of an output
 * row run over the kernel offsets in order, and over the channels within an offset, whatever the number of threads.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH 16        /* columns of a panel: one vector of AVX-512, two of AVX2, four of NEON */
#define TILE_ROWS 512   /* output rows whose sums stay in cache */
#define CHUNK_PAIRS 64 /* pairs summed in registers before they are added to a weight's gradient */
#define MAX_THREADS 256

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t panels_of(int64_t channels) { return (channels + WIDTH - 1) / WIDTH; }

static void *scratch(int64_t floats)
{
    void *memory = NULL;
    return posix_memalign(&memory, 64, (size_t)(floats > 0 ? floats : WIDTH) * sizeof(float)) ? NULL : memory;
}

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
#include "compiled_loops.h"

#if defined(__x86_64__) && !defined(CLUSTERSEG_PLAIN)
#define NAMED(name) name##_avx2
#define TARGET __attribute__((target("avx2,fma")))
#define LANES 8
#define BLOCK 6
#define HALF 4
#include "compiled_loops.h"

#define NAMED(name) name##_avx512
#define TARGET __attribute__((target("avx512f,avx512vl,avx512dq,fma")))
#define LANES 16
#define BLOCK 12
#define HALF 8
#include "compiled_loops.h"
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

/* Pieces of work, taken by some threads one after the other. */
typedef struct work {
    void (*piece)(struct work *, int64_t index, float *memory);
    int64_t pieces, memory;
    atomic_int_fast64_t next;
    atomic_int failed;
    const float *feats, *weight, *bias, *grad;
    float *output;
    const int64_t *in_rows, *out_rows, *starts, *keys, *steps;
    int64_t *found_in, *found_out, *counts;
    int64_t offsets, center, rows, c_in, c_out, block;
    int relu;
} work;

static void *take(void *argument)
{
    work *job = argument;
    float *memory = scratch(job->memory);
    if (!memory) {
        atomic_store(&job->failed, 1);
        return NULL;
    }
    for (int64_t i; (i = atomic_fetch_add(&job->next, 1)) < job->pieces;) job->piece(job, i, memory);
    free(memory);
    return NULL;
}

static int share(work *job, int threads)
{
    pthread_t others[MAX_THREADS];
    int started = 0;
    atomic_init(&job->next, 0);
    atomic_init(&job->failed, 0);
    threads = (int)smaller(smaller(threads, job->pieces), MAX_THREADS);
    for (; started < threads - 1; started++)
        if (pthread_create(&others[started], NULL, take, job)) break;
    take(job);
    for (int t = 0; t < started; t++) pthread_join(others[t], NULL);
    return atomic_load(&job->failed);
}

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

static void convolve_tile(work *job, int64_t index, float *sums)
{
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

/* Counted up with every change of a function's arguments. */
int clusterseg_interface(void)
{
    return 1;
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
    work job = {.piece = convolve_tile, .pieces = (rows + TILE_ROWS - 1) / TILE_ROWS,
                .memory = TILE_ROWS * panels_of(c_out) * WIDTH, .feats = feats, .weight = packed, .bias = bias,
                .output = output, .in_rows = in_rows, .out_rows = out_rows, .starts = starts, .offsets = offsets,
                .center = center, .rows = rows, .c_in = c_in, .c_out = c_out, .relu = relu};
    const int failed = share(&job, threads);
    free(packed);
    return failed;
}

/* The rows of a chunk of pairs, on their way into cache. */
typedef struct {
    const float *left[CHUNK_PAIRS], *right[CHUNK_PAIRS];
    int64_t pairs;
} rows_of_chunk;

static void look_up(const work *job, int dense, int64_t first, int64_t stop, int64_t c, int64_t channels,
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
static void weight_piece(work *job, int64_t index, float *memory)
{
    const int64_t blocks = (job->c_in + job->block - 1) / job->block;
    const int64_t k = index / blocks, c = index % blocks * job->block, channels = smaller(job->block, job->c_in - c);
    const int64_t panels = panels_of(job->c_out), width = panels * WIDTH;
    const int dense = k == job->center, ragged = width != job->c_out;
    const int64_t start = dense ? 0 : job->starts[k], stop = dense ? job->rows : job->starts[k + 1];
    float *padded = memory + job->block * width;
    rows_of_chunk chunks[2];
    memset(memory, 0, (size_t)job->memory * sizeof(float));
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
    work job = {.piece = weight_piece, .pieces = offsets * ((c_in + block - 1) / block),
                .memory = (block + CHUNK_PAIRS) * width, .feats = feats, .grad = grad, .output = output,
                .in_rows = in_rows, .out_rows = out_rows, .starts = starts, .offsets = offsets, .center = center,
                .rows = rows, .c_in = c_in, .c_out = c_out, .block = block};
    return share(&job, threads);
}

/* Under one offset, the pairs of voxels whose keys differ by its step: two pointers walk along the sorted keys. */
static void map_piece(work *job, int64_t k, float *memory)
{
    (void)memory;
    const int64_t *keys = job->keys, step = job->steps[k];
    int64_t *in_rows = job->found_in + k * job->rows, *out_rows = job->found_out + k * job->rows;
    int64_t count = 0;
    for (int64_t row = 0, other = 0; row < job->rows; row++) {
        while (other < job->rows && keys[other] < keys[row] + step) other++;
        if (other == job->rows) break;
        if (keys[other] == keys[row] + step) {
            in_rows[count] = other;
            out_rows[count++] = row;
        }
    }
    job->counts[k] = count;
}

/* Pairs under each of some offsets: in_rows and out_rows are (offsets, rows), of which counts[k] entries are written. */
int clusterseg_map(const int64_t *keys, const int64_t *steps, int64_t *in_rows, int64_t *out_rows, int64_t *counts,
                   int64_t offsets, int64_t rows, int threads)
{
    work job = {.piece = map_piece, .pieces = offsets, .keys = keys, .steps = steps, .found_in = in_rows,
                .found_out = out_rows, .counts = counts, .rows = rows};
    return share(&job, threads);
}
