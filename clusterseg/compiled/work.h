/* Pieces of work, shared by threads. */
#ifndef CLUSTERSEG_WORK_H
#define CLUSTERSEG_WORK_H

#include <stdint.h>
#include <stdlib.h>

static inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* Scratch memory, aligned for vectors and to be freed by `free`; NULL where there is none. */
float *scratch(int64_t floats);

/* Call piece(job, i, memory) for i = 0 .. pieces - 1, on up to `threads` threads, each with `floats` floats of scratch
 * memory of its own. 0: done; 1: no memory. */
int share_work(void (*piece)(const void *job, int64_t i, float *memory), const void *job, int64_t pieces, int64_t floats,
               int threads);

#endif
