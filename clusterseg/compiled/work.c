#include "work.h"

#include <pthread.h>
#include <stdatomic.h>

#define MAX_THREADS 256

typedef struct {
    void (*piece)(const void *, int64_t, float *);
    const void *job;
    int64_t pieces, floats;
    atomic_int_fast64_t next;
    atomic_int done;
} queue;

float *scratch(int64_t floats)
{
    void *memory = NULL;
    return posix_memalign(&memory, 64, (size_t)(floats > 0 ? floats : 16) * sizeof(float)) ? NULL : memory;
}

static void *take(void *argument)
{
    queue *work = argument;
    float *memory = scratch(work->floats);
    if (!memory) return NULL; /* the others do it */
    for (int64_t i; (i = atomic_fetch_add(&work->next, 1)) < work->pieces;) {
        work->piece(work->job, i, memory);
        atomic_fetch_add(&work->done, 1);
    }
    free(memory);
    return NULL;
}

int share_work(void (*piece)(const void *, int64_t, float *), const void *job, int64_t pieces, int64_t floats,
               int threads)
{
    queue work = {.piece = piece, .job = job, .pieces = pieces, .floats = floats};
    pthread_t others[MAX_THREADS];
    int started = 0;
    const int wanted = (int)smaller(smaller(threads, pieces), MAX_THREADS) - 1;
    for (; started < wanted; started++)
        if (pthread_create(&others[started], NULL, take, &work)) break;
    take(&work);
    for (int t = 0; t < started; t++) pthread_join(others[t], NULL);
    return atomic_load(&work.done) != pieces;
}

/* Counted up with every change of a function's arguments. */
int clusterseg_interface(void)
{
    return 5;
}
