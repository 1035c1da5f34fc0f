/* BatchNorm in training mode with its ReLU: see norm_relu.py, the same with PyTorch's operators. */
#include "work.h"

#include <string.h>

/* Loops that the compiler makes into vectors, for each kind of processor. */
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__) && !defined(CLUSTERSEG_PLAIN)
#define CLONED __attribute__((target_clones("avx2", "default")))
#else
#define CLONED
#endif

#define ROWS 256 /* of a piece: its sums are float32, those of all pieces float64 */

typedef struct {
    const float *feats, *grad, *scale, *shift, *mean, *factor, *level, *slope;
    float *made, *sums;
    int64_t rows, channels;
} norm;

/* max(0, feats * scale + shift). A NaN stays one. */
CLONED static void output_piece(const void *given, int64_t piece, float *memory)
{
    const norm *job = given;
    const float *restrict scale = job->scale, *restrict shift = job->shift;
    (void)memory;
    for (int64_t i = piece * ROWS; i < smaller((piece + 1) * ROWS, job->rows); i++) {
        const float *restrict from = job->feats + i * job->channels;
        float *restrict to = job->made + i * job->channels;
        for (int64_t c = 0; c < job->channels; c++) {
            const float value = from[c] * scale[c] + shift[c];
            to[c] = value < 0 ? 0 : value;
        }
    }
}

/* A gradient behind the ReLU of `value`, as bits: a choice would be a jump that no processor foresees. */
static inline float behind(float value, float grad)
{
    uint32_t bits;
    memcpy(&bits, &grad, sizeof(bits));
    bits &= -(uint32_t)!(value <= 0);
    memcpy(&grad, &bits, sizeof(bits));
    return grad;
}

/* Sums over a piece of the gradient, and of its product with feats - mean. */
CLONED static void sums_piece(const void *given, int64_t piece, float *memory)
{
    const norm *job = given;
    const int64_t channels = job->channels;
    const float *restrict mean = job->mean;
    const float *restrict scale = job->scale, *restrict shift = job->shift;
    float *restrict level = job->sums + piece * 2 * channels, *restrict slope = level + channels;
    (void)memory;
    memset(level, 0, (size_t)(2 * channels) * sizeof(float));
    for (int64_t i = piece * ROWS; i < smaller((piece + 1) * ROWS, job->rows); i++) {
        const float *restrict from = job->feats + i * channels, *restrict grad = job->grad + i * channels;
        for (int64_t c = 0; c < channels; c++) {
            const float own = behind(from[c] * scale[c] + shift[c], grad[c]);
            level[c] += own;
            slope[c] += own * (from[c] - mean[c]);
        }
    }
}

/* The gradient of feats. */
CLONED static void gradient_piece(const void *given, int64_t piece, float *memory)
{
    const norm *job = given;
    const float *restrict mean = job->mean, *restrict factor = job->factor;
    const float *restrict level = job->level, *restrict slope = job->slope;
    const float *restrict scale = job->scale, *restrict shift = job->shift;
    (void)memory;
    for (int64_t i = piece * ROWS; i < smaller((piece + 1) * ROWS, job->rows); i++) {
        const float *restrict from = job->feats + i * job->channels, *restrict grad = job->grad + i * job->channels;
        float *restrict to = job->made + i * job->channels;
        for (int64_t c = 0; c < job->channels; c++) {
            const float own = behind(from[c] * scale[c] + shift[c], grad[c]);
            to[c] = (own - level[c] - (from[c] - mean[c]) * slope[c]) * factor[c];
        }
    }
}

static int64_t pieces_of(int64_t rows) { return (rows + ROWS - 1) / ROWS; }

/* made (rows, channels) = max(0, feats * scale + shift). 0: done. */
int clusterseg_norm(const float *feats, const float *scale, const float *shift, float *made, int64_t rows,
                    int64_t channels, int threads)
{
    const norm job = {.feats = feats, .scale = scale, .shift = shift, .made = made, .rows = rows, .channels = channels};
    return share_work(output_piece, &job, pieces_of(rows), 0, threads);
}

/* Gradients of feats (made), weight and bias from that of the output: scale and shift as above; mean, 1 / standard
 * deviation and weight are (channels,). The sums do not depend on the number of threads. 0: done; 1: no memory. */
int clusterseg_norm_gradient(const float *feats, const float *grad, const float *scale, const float *shift,
                             const float *mean, const float *inverse_std, const float *weight, float *made,
                             float *grad_weight, float *grad_bias, int64_t rows, int64_t channels, int threads)
{
    const int64_t pieces = pieces_of(rows);
    float *memory = scratch((2 * pieces + 3) * channels);
    if (!memory) return 1;
    float *level = memory + 2 * pieces * channels, *slope = level + channels, *factor = slope + channels;
    const norm job = {.feats = feats, .grad = grad, .scale = scale, .shift = shift, .mean = mean, .factor = factor,
                      .level = level, .slope = slope, .made = made, .sums = memory, .rows = rows,
                      .channels = channels};
    int failed = share_work(sums_piece, &job, pieces, 0, threads);
    for (int64_t c = 0; c < channels && !failed; c++) {
        double all = 0, product = 0;
        for (int64_t p = 0; p < pieces; p++) {
            all += memory[p * 2 * channels + c];
            product += memory[(p * 2 + 1) * channels + c];
        }
        grad_bias[c] = (float)all;
        grad_weight[c] = (float)(product * inverse_std[c]);
        level[c] = (float)(all / (double)rows);
        slope[c] = (float)(product * inverse_std[c] * inverse_std[c] / (double)rows);
        factor[c] = weight[c] * inverse_std[c];
    }
    failed = failed || share_work(gradient_piece, &job, pieces, 0, threads);
    free(memory);
    return failed;
}
