/* The inner loops of compiled.c for one kind of processor: NAMED(name), TARGET, LANES of a vector, rows in a BLOCK, in a smaller one (HALF). */
#define PARTS (WIDTH / LANES)
#define vector NAMED(vector)
#define loose_vector NAMED(loose_vector)

typedef float vector __attribute__((vector_size(4 * LANES)));
typedef float loose_vector __attribute__((vector_size(4 * LANES), aligned(4)));

/* How many of the rows that are left to take at once. */
INLINE int NAMED(rows_next)(int64_t left)
{
    return left % BLOCK == 0 ? BLOCK : left >= 2 * BLOCK ? BLOCK : left >= HALF ? HALF : left >= 2 ? 2 : 1;
}

/* sums[r] += inputs[r] times one panel of a weight, for `count` rows. */
TARGET INLINE void NAMED(multiply)(const int count, const float *const *inputs, float *const *sums, const float *weight,
                                   int64_t c_in)
{
    vector total[BLOCK][PARTS];
    UNROLL for (int r = 0; r < count; r++)
        UNROLL for (int v = 0; v < PARTS; v++) total[r][v] = ((const vector *)sums[r])[v];
    for (int64_t c = 0; c < c_in; c++) {
        vector column[PARTS];
        UNROLL for (int v = 0; v < PARTS; v++) column[v] = ((const vector *)(weight + c * WIDTH))[v];
        UNROLL for (int r = 0; r < count; r++)
            UNROLL for (int v = 0; v < PARTS; v++) total[r][v] += inputs[r][c] * column[v];
    }
    UNROLL for (int r = 0; r < count; r++)
        UNROLL for (int v = 0; v < PARTS; v++) ((vector *)sums[r])[v] = total[r][v];
}

/* total[r] += sum over pairs of left[pair][c + r] * right[pair][d..], for `count` channels and one panel. */
TARGET INLINE void NAMED(outer)(const int count, const float *const *left, const float *const *right, int64_t pairs,
                                int64_t c, int64_t d, float *total, int64_t stride)
{
    vector sum[BLOCK][PARTS];
    UNROLL for (int r = 0; r < count; r++)
        UNROLL for (int v = 0; v < PARTS; v++) sum[r][v] = (vector){0};
    for (int64_t p = 0; p < pairs; p++) {
        const float *from = left[p] + c, *other = right[p] + d;
        vector row[PARTS];
        UNROLL for (int v = 0; v < PARTS; v++) row[v] = ((const loose_vector *)other)[v];
        UNROLL for (int r = 0; r < count; r++)
            UNROLL for (int v = 0; v < PARTS; v++) sum[r][v] += from[r] * row[v];
    }
    UNROLL for (int r = 0; r < count; r++)
        UNROLL for (int v = 0; v < PARTS; v++) ((vector *)(total + r * stride))[v] += sum[r][v];
}

/* The pairs of one offset, with all panels of its weight; `sums` begins at output row `first`. NULL: row by row. */
TARGET static void NAMED(run)(const float *feats, const int64_t *in_rows, const int64_t *out_rows, int64_t pairs,
                              int64_t first, const float *weight, float *sums, int64_t c_in, int64_t panels)
{
    const float *inputs[BLOCK];
    float *targets[BLOCK];
    const int64_t width = panels * WIDTH;
    for (int64_t p = 0; p < pairs;) {
        const int count = NAMED(rows_next)(pairs - p);
        for (int r = 0; r < count; r++) {
            inputs[r] = feats + (in_rows ? in_rows[p + r] : first + p + r) * c_in;
            targets[r] = sums + (out_rows ? out_rows[p + r] - first : p + r) * width;
        }
        for (int64_t j = 0; j < panels; j++) {
            const float *part = weight + j * c_in * WIDTH;
            if (count == BLOCK) NAMED(multiply)(BLOCK, inputs, targets, part, c_in);
            else if (count == HALF) NAMED(multiply)(HALF, inputs, targets, part, c_in);
            else if (count == 2) NAMED(multiply)(2, inputs, targets, part, c_in);
            else NAMED(multiply)(1, inputs, targets, part, c_in);
            for (int r = 0; r < count; r++) targets[r] += WIDTH;
        }
        p += count;
    }
}

/* A weight's gradient from some pairs, for `channels` of its input. */
TARGET static void NAMED(chunk)(const float *const *left, const float *const *right, int64_t pairs, float *total,
                                int64_t channels, int64_t panels)
{
    const int64_t width = panels * WIDTH;
    for (int64_t j = 0; j < panels; j++)
        for (int64_t c = 0; c < channels;) {
            const int64_t d = j * WIDTH;
            float *target = total + c * width + d;
            const int count = NAMED(rows_next)(channels - c);
            if (count == BLOCK) NAMED(outer)(BLOCK, left, right, pairs, c, d, target, width);
            else if (count == HALF) NAMED(outer)(HALF, left, right, pairs, c, d, target, width);
            else if (count == 2) NAMED(outer)(2, left, right, pairs, c, d, target, width);
            else NAMED(outer)(1, left, right, pairs, c, d, target, width);
            c += count;
        }
}

#undef PARTS
#undef vector
#undef loose_vector
#undef NAMED
#undef TARGET
#undef LANES
#undef BLOCK
#undef HALF
