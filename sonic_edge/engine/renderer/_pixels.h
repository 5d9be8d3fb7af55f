/* What the parts of _pixels share: arrays that Python hands in, and fields between their nodes. */
#ifndef SONIC_EDGE_PIXELS_H
#define SONIC_EDGE_PIXELS_H
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#else
#error "_pixels: written for x86-64 and aarch64"
#endif

typedef Py_ssize_t size;

/* Compiled twice, and the one that this processor has is taken: both do the same. */
#if defined(__x86_64__)
#define WIDER __attribute__((target_clones("avx2", "default")))
#else
#define WIDER
#endif

typedef struct {
    Py_buffer view;
    int held;
} Held;

#pragma GCC visibility push(hidden)

int hold(PyObject *object, Held *held, const char *name, const char *format, int n_axes, int writable);
void let_go(Held *held, int n);
int is_tuple(PyObject *object, const char *name);
int has_shape(const Held *held, const char *name, int axis, size wanted);

static inline size later(size a, size b) { return a > b ? a : b; }
static inline size sooner(size a, size b) { return a < b ? a : b; }

static inline float within(float value, float low, float high) {
    return value > low ? (value < high ? value : high) : low; /* what is not a number becomes `low` */
}

typedef float Floats __attribute__((vector_size(16)));

/* Of a place (x, y) in cells the first of the four nodes around, counted through, and how far it is from there, 0..1 each
 * way; what lies beyond the outermost nodes is on them. */
static inline size node_before(size rows, size columns, float x, float y, float *right, float *down) {
    x = within(x, 0, (float)(columns - 1));
    y = within(y, 0, (float)(rows - 1));
    size column = (size)x, row = (size)y;
    if (column > columns - 2) column = columns - 2;
    if (row > rows - 2) row = rows - 2;
    *right = x - (float)column, *down = y - (float)row;
    return row * columns + column;
}

/* A field [rows, columns, 2] between its nodes, at (x, y) in cells; beyond the outermost nodes as it is there. */
static inline void sample(const float *field, size rows, size columns, float x, float y, float *u, float *v) {
    float a, b;
    const float *at = field + 2 * node_before(rows, columns, x, y, &a, &b);
    Floats upper, lower; /* left u, left v, right u, right v */
    memcpy(&upper, at, sizeof upper), memcpy(&lower, at + 2 * columns, sizeof lower);
    Floats here = upper + (lower - upper) * (Floats){b, b, b, b};
    *u = here[0] + (here[2] - here[0]) * a, *v = here[1] + (here[3] - here[1]) * a;
}

/* In _drawn.c. */
PyObject *outline(PyObject *self, PyObject *args);
PyObject *tint(PyObject *self, PyObject *args);
PyObject *between_lips(PyObject *self, PyObject *args);
PyObject *lowered(PyObject *self, PyObject *args);
PyObject *lay_skin(PyObject *self, PyObject *args);
PyObject *turned(PyObject *self, PyObject *args);

#pragma GCC visibility pop

#endif
