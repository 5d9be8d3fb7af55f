/* Shared by the parts of _pixels: arrays passed in from Python, and interpolation in fields. */
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

/* Compiled for AVX2 and for the baseline; the loader picks one. Both compute the same. */
#if defined(__x86_64__)
#define SIMD_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define SIMD_CLONES
#endif

typedef struct {
    Py_buffer view;
    int is_acquired;
} Array;

#pragma GCC visibility push(hidden)

int acquire(PyObject *object, Array *array, const char *name, const char *format, int n_axes, int writable);
void release(Array *array, int n);
int is_tuple(PyObject *object, const char *name);
int has_shape(const Array *array, const char *name, int axis, size wanted);

static inline size max(size a, size b) { return a > b ? a : b; }
static inline size min(size a, size b) { return a < b ? a : b; }

static inline float clamp(float value, float low, float high) {
    return value > low ? (value < high ? value : high) : low; /* NaN becomes `low` */
}

typedef float Floats __attribute__((vector_size(16)));

/* The index of the upper left one of the four nodes around a point (x, y), in cells, and the point's offset from it, 0..1;
 * points beyond the outermost nodes are moved onto them. */
static inline size node_before(size rows, size columns, float x, float y, float *right, float *down) {
    x = clamp(x, 0, (float)(columns - 1));
    y = clamp(y, 0, (float)(rows - 1));
    size column = (size)x, row = (size)y;
    if (column > columns - 2) column = columns - 2;
    if (row > rows - 2) row = rows - 2;
    *right = x - (float)column, *down = y - (float)row;
    return row * columns + column;
}

/* Interpolate a field [rows, columns, 2] at (x, y), in cells; beyond the outermost nodes it is constant. */
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
