/* Kernel maps of sorted keys. */
#include "work.h"

typedef struct {
    const int64_t *keys, *steps;
    int64_t *in_rows, *out_rows, *counts;
    int64_t rows;
} map;

/* Under one offset, the pairs of voxels whose keys differ by its step: two pointers walk along the sorted keys. */
static void map_piece(const void *given, int64_t k, float *memory)
{
    const map *job = given;
    const int64_t *keys = job->keys, step = job->steps[k];
    int64_t *in_rows = job->in_rows + k * job->rows, *out_rows = job->out_rows + k * job->rows;
    int64_t count = 0;
    (void)memory;
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
    const map job = {.keys = keys, .steps = steps, .in_rows = in_rows, .out_rows = out_rows, .counts = counts,
                     .rows = rows};
    return share_work(map_piece, &job, offsets, 0, threads);
}
