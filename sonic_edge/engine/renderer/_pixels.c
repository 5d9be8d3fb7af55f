/* The renderer's inner loops, over the nodes of the grid and the pixels of a frame.
 *
 * Pixels are computed in integers, so that every processor gives the same bytes. Nothing outside the given buffers is read
 * or written, whatever numbers are in them. The docstrings for Python are in _pixels.pyi.
 */
#include "_pixels.h"

/* ---- buffers ------------------------------------------------------------------------------------------------------ */

/* Get the buffer of a NumPy array and check its type and number of axes; -1 and an error. */
int acquire(PyObject *object, Array *array, const char *name, const char *format, int n_axes, int writable) {
    int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0);
    if (PyObject_GetBuffer(object, &array->view, flags) < 0) return -1;
    array->is_acquired = 1;
    const Py_buffer *view = &array->view;
    if (view->ndim != n_axes || !view->format || strcmp(view->format, format) != 0) {
        PyErr_Format(PyExc_ValueError, "%s: %d axes of %s; %d axes of %s are needed", name, view->ndim,
                     view->format ? view->format : "bytes", n_axes, format);
        return -1;
    }
    if ((uintptr_t)view->buf % (size_t)view->itemsize) {
        PyErr_Format(PyExc_ValueError, "%s: must begin at a multiple of %zd bytes", name, view->itemsize);
        return -1;
    }
    return 0;
}

void release(Array *arrays, int n) {
    for (int i = 0; i < n; i++)
        if (arrays[i].is_acquired) PyBuffer_Release(&arrays[i].view);
}

int is_tuple(PyObject *object, const char *name) {
    if (PyTuple_Check(object)) return 1;
    PyErr_Format(PyExc_TypeError, "%s: a %s; a tuple is needed", name, Py_TYPE(object)->tp_name);
    return 0;
}

int has_shape(const Array *array, const char *name, int axis, size wanted) {
    if (array->view.shape[axis] == wanted) return 1;
    PyErr_Format(PyExc_ValueError, "%s: axis %d is %zd long; %zd is needed", name, axis, array->view.shape[axis], wanted);
    return 0;
}

/* ---- weighted sums -------------------------------------------------------------------------------------------------- */

#define CHUNK 256 /* numbers summed at once, few enough for the first cache */

/* In the order of the bases, whatever the processor and the alignment: a BLAS library does not guarantee that, and the last
 * bit of a position can change a grey level. */
SIMD_CLONES static void sum_weighted(const float *weights, const float *bases, float *out, size n, size width) {
    for (size first = 0; first < width; first += CHUNK) {
        const size count = min(width - first, CHUNK);
        float sum[CHUNK] = {0};
        for (size i = 0; i < n; i++) {
            const float *basis = bases + i * width + first;
            if (weights[i] != 0)
                for (size k = 0; k < count; k++) sum[k] += weights[i] * basis[k];
        }
        memcpy(out + first, sum, (size_t)count * sizeof(float));
    }
}

static PyObject *weighted(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *objects[3], *result = NULL;
    Array arrays[3] = {{.is_acquired = 0}};
    if (!PyArg_ParseTuple(args, "OOO", &objects[0], &objects[1], &objects[2])) return NULL;
    if (acquire(objects[0], &arrays[0], "weights", "f", 1, 0) < 0 || acquire(objects[1], &arrays[1], "bases", "f", 2, 0) < 0 ||
        acquire(objects[2], &arrays[2], "out", "f", 1, 1) < 0 || !has_shape(&arrays[0], "weights", 0, arrays[1].view.shape[0]) ||
        !has_shape(&arrays[2], "out", 0, arrays[1].view.shape[1]))
        goto done;
    sum_weighted(arrays[0].view.buf, arrays[1].view.buf, arrays[2].view.buf, arrays[1].view.shape[0], arrays[1].view.shape[1]);
    result = Py_None;
done:
    release(arrays, 3);
    Py_XINCREF(result);
    return result;
}

static PyObject *bounds(PyObject *self, PyObject *points) {
    (void)self;
    Array array = {.is_acquired = 0};
    PyObject *result = NULL;
    if (acquire(points, &array, "points", "d", 2, 0) < 0 || !has_shape(&array, "points", 1, 2)) goto done;
    const size n = array.view.shape[0];
    const double *at = array.view.buf;
    if (!n) {
        PyErr_SetString(PyExc_ValueError, "points: 0; at least one is needed");
        goto done;
    }
    double low[2] = {at[0], at[1]}, high[2] = {at[0], at[1]};
    for (size i = 2; i < 2 * n; i++) {
        if (at[i] < low[i % 2]) low[i % 2] = at[i];
        if (at[i] > high[i % 2]) high[i % 2] = at[i];
    }
    result = Py_BuildValue("dddd", low[0], low[1], high[0], high[1]);
done:
    release(&array, 1);
    return result;
}

/* ---- the grid ----------------------------------------------------------------------------------------------------- */

typedef struct {
    const float *values;
    size rows, columns;
    float left, top, right, bottom, scale; /* of the outermost nodes; nodes per pixel */
} Field;

#define BATCH 64 /* points processed at once, so that the processor can overlap their computations */

SIMD_CLONES static void invert_each(const Field *field, const float *at, float *out, size n, int is_node, int iterations,
                                    float tolerance) {
    /* (starting from the neighbour's result would be faster, but tears the picture where the field is steep) */
    for (size first = 0; first < n; first += BATCH, at += 2 * BATCH, out += 2 * BATCH) {
        size count = min(n - first, BATCH), n_open = 0;
        uint8_t open[BATCH];
        if (is_node)
            for (size i = 0; i < 2 * count; i++) out[i] = at[i] - field->values[2 * first + i];
        else memcpy(out, at, (size_t)(2 * count) * sizeof(float));
        for (size i = 0; i < count; i++) {
            float x = at[2 * i], y = at[2 * i + 1];
            open[n_open] = (uint8_t)i;
            /* (a node that does not move is its own source) */
            n_open += is_node ? out[2 * i] != x || out[2 * i + 1] != y
                              : x >= field->left && y >= field->top && x <= field->right && y <= field->bottom;
        }
        for (int round = is_node; n_open && round < iterations; round++) {
            size n_left = 0;
            for (size k = 0; k < n_open; k++) {
                size i = open[k];
                float x = out[2 * i], y = out[2 * i + 1], u, v;
                sample(field->values, field->rows, field->columns, (x - field->left) * field->scale,
                       (y - field->top) * field->scale, &u, &v);
                out[2 * i] = at[2 * i] - u, out[2 * i + 1] = at[2 * i + 1] - v;
                open[n_left] = (uint8_t)i;
                n_left += !(fabsf(out[2 * i] - x) + fabsf(out[2 * i + 1] - y) < tolerance);
            }
            n_open = n_left;
        }
    }
}

static PyObject *invert(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *objects[3];
    double left, top, cell, tolerance;
    int iterations, are_nodes;
    Array arrays[3] = {{.is_acquired = 0}};
    PyObject *result = NULL;
    if (!PyArg_ParseTuple(args, "OOpO(dd)did", &objects[0], &objects[1], &are_nodes, &objects[2], &left, &top, &cell,
                          &iterations, &tolerance))
        return NULL;
    if (acquire(objects[0], &arrays[0], "field", "f", 3, 0) < 0 || acquire(objects[1], &arrays[1], "at", "f", 3, 0) < 0 ||
        acquire(objects[2], &arrays[2], "out", "f", 3, 1) < 0)
        goto done;
    size rows = arrays[0].view.shape[0], columns = arrays[0].view.shape[1];
    size n = arrays[1].view.shape[0] * arrays[1].view.shape[1];
    if (rows < 2 || columns < 2 || !(cell > 0)) {
        PyErr_SetString(PyExc_ValueError, "field: at least 2 x 2 nodes and a cell over 0 are needed");
        goto done;
    }
    for (int i = 0; i < 3; i++)
        if (!has_shape(&arrays[i], "field, at and out", 2, 2)) goto done;
    for (int axis = 0; axis < 2; axis++)
        if (!has_shape(&arrays[2], "out", axis, arrays[1].view.shape[axis])) goto done;
    for (int axis = 0; are_nodes && axis < 2; axis++)
        if (!has_shape(&arrays[1], "at", axis, arrays[0].view.shape[axis])) goto done;
    float x0 = (float)left, y0 = (float)top, side = (float)cell;
    Field field = {arrays[0].view.buf, rows, columns, x0, y0, x0 + (float)(columns - 1) * side, y0 + (float)(rows - 1) * side,
                   1 / side};
    Py_BEGIN_ALLOW_THREADS
    invert_each(&field, arrays[1].view.buf, arrays[2].view.buf, n, are_nodes, iterations, (float)tolerance);
    Py_END_ALLOW_THREADS
    result = Py_None;
done:
    release(arrays, 3);
    Py_XINCREF(result);
    return result;
}

static void sample_each(const float *field, size rows, size columns, size depth, const float *at, float *out, size n,
                        float left, float top, float scale) {
    for (size i = 0; i < n; i++, at += 2, out += depth) {
        float a, b;
        size node = node_before(rows, columns, (at[0] - left) * scale, (at[1] - top) * scale, &a, &b);
        const float *upper = field + depth * node, *lower = upper + depth * columns;
        for (size k = 0; k < depth; k++) {
            float before = upper[k] + (lower[k] - upper[k]) * b, after = upper[k + depth] + (lower[k + depth] - upper[k + depth]) * b;
            out[k] = before + (after - before) * a;
        }
    }
}

static PyObject *sampled(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *objects[3], *result = NULL;
    float left, top, cell;
    Array arrays[3] = {{.is_acquired = 0}};
    if (!PyArg_ParseTuple(args, "O(ff)fOO", &objects[0], &left, &top, &cell, &objects[1], &objects[2])) return NULL;
    if (acquire(objects[0], &arrays[0], "field", "f", 3, 0) < 0 || acquire(objects[1], &arrays[1], "at", "f", 2, 0) < 0 ||
        acquire(objects[2], &arrays[2], "out", "f", 2, 1) < 0 || !has_shape(&arrays[1], "at", 1, 2) ||
        !has_shape(&arrays[2], "out", 0, arrays[1].view.shape[0]) || !has_shape(&arrays[2], "out", 1, arrays[0].view.shape[2]))
        goto done;
    const size *shape = arrays[0].view.shape;
    if (shape[0] < 2 || shape[1] < 2 || !(cell > 0)) {
        PyErr_SetString(PyExc_ValueError, "field: at least 2 x 2 nodes and a cell over 0 are needed");
        goto done;
    }
    sample_each(arrays[0].view.buf, shape[0], shape[1], shape[2], arrays[1].view.buf, arrays[2].view.buf, arrays[1].view.shape[0], left,
                top, 1 / cell);
    result = Py_None;
done:
    release(arrays, 3);
    Py_XINCREF(result);
    return result;
}

/* ---- pixels ------------------------------------------------------------------------------------------------------- */

#define FRACTION 16 /* fractional bits of a position during stepping */
#define WEIGHT 7    /* of these, the bits used to interpolate between pixels: more would change less than a grey level */
#define PART (1 << (FRACTION - WEIGHT)) /* the finest step used in interpolation, as a position */
#define UNIT 32768  /* a gain of 1 in a `Line`: half of 1 << FRACTION */

typedef uint16_t Shorts __attribute__((vector_size(16)));
typedef int32_t Four __attribute__((vector_size(16)));
typedef uint64_t Longs __attribute__((vector_size(16)));

/* Two pixels at once, four channels each, as eight 16-bit numbers: wrappers of each processor's intrinsics. */
#if defined(__SSE2__)
typedef __m128i Pair;
static inline Pair splat(int value) { return _mm_set1_epi16((short)value); }
static inline Pair load_two(const uint8_t *pixels) {
    return _mm_unpacklo_epi8(_mm_loadl_epi64((const __m128i *)pixels), _mm_setzero_si128());
}
static inline Pair join_two(uint32_t one, uint32_t other) {
    return _mm_unpacklo_epi8(_mm_unpacklo_epi32(_mm_cvtsi32_si128((int)one), _mm_cvtsi32_si128((int)other)),
                             _mm_setzero_si128());
}
static inline Pair low_halves(Pair a, Pair b) { return _mm_unpacklo_epi64(a, b); }
static inline Pair high_halves(Pair a, Pair b) { return _mm_unpackhi_epi64(a, b); }
static inline Pair add(Pair a, Pair b) { return _mm_add_epi16(a, b); }
static inline Pair subtract(Pair a, Pair b) { return _mm_sub_epi16(a, b); }
static inline Pair multiply_low(Pair a, Pair b) { return _mm_mullo_epi16(a, b); }
static inline Pair multiply_high(Pair a, Pair b) { return _mm_mulhi_epi16(a, b); } /* signed; b >= 0 */
static inline Pair min_pair(Pair a, Pair b) { return _mm_min_epi16(a, b); } /* both below 32768 */
static inline Pair multiply_high_unsigned(Pair a, Pair b) { return _mm_mulhi_epu16(a, b); }
#define SHIFT_LEFT(a, n) _mm_slli_epi16(a, n)
#define SHIFT_RIGHT(a, n) _mm_srli_epi16(a, n)
static inline Pair alphas(Pair a) {
    return _mm_shufflehi_epi16(_mm_shufflelo_epi16(a, _MM_SHUFFLE(3, 3, 3, 3)), _MM_SHUFFLE(3, 3, 3, 3));
}
static inline int is_opaque(Pair a) { /* whether both alphas are 255 */
    return (_mm_movemask_epi8(_mm_cmpeq_epi16(a, _mm_set1_epi16(255))) & 0x8080) == 0x8080;
}
static inline Pair pack(Pair a, Pair b) { return _mm_packus_epi16(a, b); } /* saturates at 255 */
#elif defined(__ARM_NEON)
typedef uint16x8_t Pair;
static inline Pair splat(int value) { return vdupq_n_u16((uint16_t)value); }
static inline Pair load_two(const uint8_t *pixels) { return vmovl_u8(vld1_u8(pixels)); }
static inline Pair join_two(uint32_t one, uint32_t other) { return vmovl_u8(vcreate_u8(one | (uint64_t)other << 32)); }
static inline Pair low_halves(Pair a, Pair b) { return vcombine_u16(vget_low_u16(a), vget_low_u16(b)); }
static inline Pair high_halves(Pair a, Pair b) { return vcombine_u16(vget_high_u16(a), vget_high_u16(b)); }
static inline Pair add(Pair a, Pair b) { return vaddq_u16(a, b); }
static inline Pair subtract(Pair a, Pair b) { return vsubq_u16(a, b); }
static inline Pair multiply_low(Pair a, Pair b) { return vmulq_u16(a, b); }
static inline Pair multiply_high(Pair a, Pair b) { /* vqdmulh doubles the product */
    return vreinterpretq_u16_s16(vqdmulhq_s16(vreinterpretq_s16_u16(a), vreinterpretq_s16_u16(vshrq_n_u16(b, 1))));
}
static inline Pair min_pair(Pair a, Pair b) { return vminq_u16(a, b); }
static inline Pair multiply_high_unsigned(Pair a, Pair b) {
    return vcombine_u16(vshrn_n_u32(vmull_u16(vget_low_u16(a), vget_low_u16(b)), 16),
                        vshrn_n_u32(vmull_u16(vget_high_u16(a), vget_high_u16(b)), 16));
}
#define SHIFT_LEFT(a, n) vshlq_n_u16(a, n)
#define SHIFT_RIGHT(a, n) vshrq_n_u16(a, n)
static inline Pair alphas(Pair a) {
    return vcombine_u16(vdup_lane_u16(vget_low_u16(a), 3), vdup_lane_u16(vget_high_u16(a), 3));
}
static inline int is_opaque(Pair a) { return (vgetq_lane_u16(a, 3) & vgetq_lane_u16(a, 7)) == 255; }
static inline Pair pack(Pair a, Pair b) { return (Pair)vcombine_u8(vqmovn_u16(a), vqmovn_u16(b)); }
#endif

/* Load four numbers, each duplicated; BROADCAST then broadcasts one of them to the first pixel and another to the second. */
static inline Four load_four(const uint16_t *at) {
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return (Four)__builtin_shuffle((Shorts)(Longs){value, 0}, (Shorts){0, 0, 1, 1, 2, 2, 3, 3});
}
#define BROADCAST(four, one, other) (Pair)__builtin_shuffle(four, (Four){one, one, other, other})

/* Bilinear interpolation at two positions, each among 2 x 2 pixels, at the fractions `right` and `down`. A position on a
 * pixel gives that pixel exactly. */
static inline Pair interpolate(const uint8_t *one, const uint8_t *other, size stride, Pair right, Pair down_one,
                               Pair down_other) {
    Pair upper_one = load_two(one), upper_other = load_two(other);
    Pair column_one = add(SHIFT_LEFT(upper_one, WEIGHT), multiply_low(subtract(load_two(one + stride), upper_one), down_one));
    Pair column_other =
        add(SHIFT_LEFT(upper_other, WEIGHT), multiply_low(subtract(load_two(other + stride), upper_other), down_other));
    Pair left = low_halves(column_one, column_other), beside = high_halves(column_one, column_other);
    /* 15 bits; the product of 22 bits is truncated to 14 and then rounded to 8 */
    Pair sum = add(SHIFT_RIGHT(left, 1), multiply_high(subtract(beside, left), right));
    return SHIFT_RIGHT(add(sum, splat(32)), 6);
}

/* Two premultiplied pixels over the background: person + back * (255 - alpha) / 255, rounded. */
static inline Pair blend_over(Pair person, Pair back) {
    Pair x = add(multiply_low(back, subtract(splat(255), alphas(person))), splat(128));
    return min_pair(add(person, SHIFT_RIGHT(add(x, SHIFT_RIGHT(x, 8)), 8)), splat(255)); /* rounding may give 256 */
}

static inline uint32_t load_4_bytes(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, 4);
    return value;
}

static inline void store_3_bytes(uint8_t *at, uint32_t value) {
    at[0] = (uint8_t)value, at[1] = (uint8_t)(value >> 8), at[2] = (uint8_t)(value >> 16);
}

static inline uint32_t load_3_bytes(const uint8_t *at) { return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16; }

typedef struct {
    const uint8_t *pixels; /* [height, width, 4] */
    size width, height;
} Photo;

/* Columns of pixels, `end` exclusive. */
typedef struct {
    size begin, end;
} Span;

static inline Span intersect(Span a, Span b) { return (Span){max(a.begin, b.begin), min(a.end, b.end)}; }

typedef struct {
    uint32_t *at;                  /* for each pixel of a row: index of the photo's pixel above and left of its source */
    uint16_t *right, *down, *gain; /* the fractions from there (`right` << 8), and the gain, in UNIT */
    Span lit;                      /* where `gain` is set; elsewhere the gain is 1 */
} Line;

static inline Pair apply_gain(Pair found, Pair gain) {
    return SHIFT_RIGHT(add(multiply_high_unsigned(SHIFT_LEFT(found, 8), gain), splat(64)), 7);
}

/* Store four pixels as twelve bytes; two more bytes are overwritten. */
static inline void store_four(uint8_t *at, Pair one, Pair other) {
    Longs pixels = (Longs)pack(one, other);
    pixels = (pixels & 0xffffff) | (pixels >> 8 & 0xffffff000000);
    memcpy(at, &pixels, 8), memcpy(at + 6, (uint8_t *)&pixels + 8, 8);
}

/* Render a row of the frame. */
SIMD_CLONES static void render_row(Photo photo, Line line, const uint8_t *back, uint8_t *out, Span row) {
    const size stride = 4 * photo.width;
    size j = row.begin;
    for (; j + 4 < row.end; j += 4) { /* two pairs at once, for in-order processors */
        const uint8_t *behind = back + 3 * j, *at = photo.pixels + 4 * (size)line.at[j];
        /* (two rows further down in the frame is usually four rows further down in the photo) */
        __builtin_prefetch(at + 4 * stride, 0, 2), __builtin_prefetch(at + 5 * stride, 0, 2);
        Four right = load_four(line.right + j), down = load_four(line.down + j);
        Pair one = interpolate(at, photo.pixels + 4 * (size)line.at[j + 1], stride, BROADCAST(right, 0, 1), BROADCAST(down, 0, 0),
                           BROADCAST(down, 1, 1));
        Pair other = interpolate(photo.pixels + 4 * (size)line.at[j + 2], photo.pixels + 4 * (size)line.at[j + 3], stride,
                             BROADCAST(right, 2, 3), BROADCAST(down, 2, 2), BROADCAST(down, 3, 3));
        if (!is_opaque((Pair)((Longs)one & (Longs)other))) {
            one = blend_over(one, join_two(load_4_bytes(behind), load_4_bytes(behind + 3)));
            other = blend_over(other, join_two(load_4_bytes(behind + 6), load_4_bytes(behind + 9)));
        }
        if (j >= line.lit.begin && j + 4 <= line.lit.end) {
            Four gain = load_four(line.gain + j);
            one = apply_gain(one, BROADCAST(gain, 0, 1)), other = apply_gain(other, BROADCAST(gain, 2, 3));
        }
        store_four(out + 3 * j, one, other);
    }
    for (; j < row.end; j++) {
        const uint8_t *at = photo.pixels + 4 * (size)line.at[j];
        Four right = load_four(line.right + j), down = load_four(line.down + j), gain = load_four(line.gain + j);
        Pair one = interpolate(at, at, stride, BROADCAST(right, 0, 0), BROADCAST(down, 0, 0), BROADCAST(down, 0, 0));
        uint32_t behind = load_3_bytes(back + 3 * j);
        if (!is_opaque(one)) one = blend_over(one, join_two(behind, behind));
        if (j >= line.lit.begin && j < line.lit.end) one = apply_gain(one, BROADCAST(gain, 0, 0));
        store_3_bytes(out + 3 * j, (uint32_t)((Longs)pack(one, one))[0]);
    }
}

/* ---- source positions --------------------------------------------------------------------------------------------- */

#define FURTHEST 16383.0f /* pixels: larger than any picture, and the difference of two positions does not overflow */

#define BLOCK 16 /* rows stepped down from the first: few enough that rounding errors do not add up */
#define UNSEEN (1 / 128.0f) /* a movement too small to be seen, canvas pixels */

static inline int32_t to_fixed(float value, float one) { return (int32_t)lrintf(clamp(value, -FURTHEST, FURTHEST) * one); }

typedef struct {
    const float *positions; /* [rows, columns, 2], canvas */
    const float *gain;      /* [rows, columns] or NULL: relative change of the light */
    size rows, columns, left, top, cell;
} Nodes;

typedef struct {
    uint8_t *pixels; /* at `left`, `top` */
    size left, top, width, height, stride;
} Area;

/* A small, fine displacement field that is added to that of the nodes. */
typedef struct {
    const float *field; /* [height, width, 2], canvas pixels, indexed by source position in the photo */
    size height, width;
    float left, top, step;
    Span columns; /* only these columns and the rows `above` up to `below` of the area are affected */
    size above, below;
} Patch;

/* One of the interpolated quantities: source x, source y, or light; fixed point, 1 << FRACTION is 1. */
typedef struct {
    int32_t *here, *next;    /* at the nodes above a row of cells, and at those below */
    int32_t *now, *down;     /* where the columns of nodes cross the first row of a block, and its step to the next row */
    int32_t *right, *wider;  /* the step to the next pixel there, and the change of that step per row */
    int32_t *pixels, *steps; /* at each pixel of a row, and its step to the row below */
} Quantity;

typedef struct {
    Quantity x, y, light;
    uint8_t *rests, *rests_next; /* whether the nodes above and below a row of cells are at rest */
    uint8_t *row, *black;        /* a row of pixels to be blended into the frame; a black background */
    int32_t *moved_x, *moved_y;  /* positions of a row after patches, clamped to the photo */
    Line line;
    size first, last;            /* the columns of nodes around the area */
} Work;

static inline int32_t clamp_index(int32_t value, int32_t last) { return value < 0 ? 0 : value > last ? last : value; }

/* In a cell with an odd number of pixels the first is on the node; with an even number it is half a pixel further. */
static inline int32_t at_first_pixel(int32_t value, int32_t step, size cell) { return cell % 2 ? value : value + (step >> 1); }

/* The step per pixel from each number to its counterpart one cell further. */
static inline void steps(const int32_t *from, const int32_t *to, int32_t *restrict step, size begin, size end, size cell) {
    const float share = 1 / (float)cell;
    for (size k = begin; k <= end; k++) step[k] = (int32_t)lrintf((float)(to[k] - from[k]) * share);
}

#define SPARE 8 /* numbers after the end of a line that may be written or read */

/* first, first + step ...; n is rounded up to a multiple of four. */
static inline void fill_steps(int32_t *out, int32_t first, int32_t step, size n) {
    Four values = (Four){first, first, first, first} + (Four){0, 1, 2, 3} * step;
    for (size k = 0; k < n; k += 4, values += 4 * step) memcpy(out + k, &values, sizeof values);
}

/* Compute a quantity, plus `more`, at the pixels of a block's first row, which is row `done` in its row of cells, and the
 * steps down from there. Pixel 0 is `lead` pixels right of column 0 of the nodes. */
SIMD_CLONES static void begin_block(const Quantity *n, size cell, size lead, Span where, size done, int32_t more) {
    if (where.begin >= where.end) return;
    const size first = (where.begin + lead) / cell, last = (where.end - 1 + lead) / cell;
    steps(n->here, n->next, n->down, first, last + 1, cell);
    for (size k = first; k <= last + 1; k++)
        n->now[k] = at_first_pixel(n->here[k], n->down[k], cell) + n->down[k] * (int32_t)done + more;
    steps(n->now, n->now + 1, n->right, first, last, cell);
    steps(n->down, n->down + 1, n->wider, first, last, cell);
    for (size k = first, j = where.begin; k <= last; k++) {
        const size next = min((k + 1) * cell - lead, where.end);
        const int32_t past = (int32_t)(j + lead - k * cell);
        fill_steps(n->pixels + j, at_first_pixel(n->now[k], n->right[k], cell) + n->right[k] * past, n->right[k], next - j);
        fill_steps(n->steps + j, at_first_pixel(n->down[k], n->wider[k], cell) + n->wider[k] * past, n->wider[k], next - j);
        j = next;
    }
}

/* Step to the next row. */
SIMD_CLONES static void step_down(const Quantity *n, Span where) {
    int32_t *restrict pixels = n->pixels;
    const int32_t *restrict down = n->steps;
    for (size j = where.begin; j < where.end; j++) pixels[j] += down[j];
}

/* Read the quantities at a row of nodes; returns whether all positions are well inside the photo. */
static int read_nodes(const Nodes *nodes, size row, const Photo *photo, const float *placing, Work *work) {
    const float one = (float)(1 << FRACTION), *at = nodes->positions + 2 * row * nodes->columns;
    const float *gain = nodes->gain ? nodes->gain + row * nodes->columns : NULL;
    const float y_rest = (float)(nodes->top + row * nodes->cell) + 0.5f * (float)nodes->cell - 0.5f;
    const int32_t most_x = (int32_t)(photo->width - 1) * (1 << FRACTION), most_y = (int32_t)(photo->height - 1) * (1 << FRACTION);
    /* closer to the borders than this, rounding could lead outside */
    const int32_t edge = (1 << FRACTION) + BLOCK * (int32_t)nodes->cell;
    int inside = 1;
    for (size k = work->first; k <= work->last; k++) {
        const float x_rest = (float)(nodes->left + k * nodes->cell) + 0.5f * (float)nodes->cell - 0.5f;
        /* imperceptible movement counts as rest: a mouth must not change the forehead by even a grey level */
        int rests = fabsf(at[2 * k] - x_rest) < UNSEEN && fabsf(at[2 * k + 1] - y_rest) < UNSEEN;
        int32_t x = to_fixed(((rests ? x_rest : at[2 * k]) - placing[0]) * placing[2], one);
        int32_t y = to_fixed(((rests ? y_rest : at[2 * k + 1]) - placing[1]) * placing[2], one);
        work->x.next[k] = x, work->y.next[k] = y;
        work->light.next[k] = (1 << FRACTION) + (gain ? to_fixed(clamp(gain[k], -1, 0.99f), one) : 0);
        work->rests_next[k] = rests && !(gain && gain[k] != 0);
        inside &= x >= edge && y >= edge && x < most_x - edge && y < most_y - edge;
    }
    return inside;
}

/* Whether a patch can affect rows `begin` up to `end`. */
static inline int affects(const Patch *patch, size begin, size end) { return begin < patch->below && end > patch->above; }

static inline float min_float(float a, float b) { return a < b ? a : b; }

/* Add a patch to the positions of a row, which are multiples of PART before and after. */
static void displace(const Patch *patch, const float *placing, int32_t *xs, int32_t *ys, Span where) {
    const float to_canvas = 1 / (placing[2] * (float)(1 << FRACTION)), to_patch = 1 / patch->step, one = (float)(1 << WEIGHT);
    const float width = (float)patch->width, height = (float)patch->height;
    for (size j = where.begin; j < where.end; j++) {
        float x = ((float)xs[j] * to_canvas + placing[0] - patch->left) * to_patch;
        float y = ((float)ys[j] * to_canvas + placing[1] - patch->top) * to_patch;
        if (!(x > -1 && y > -1 && x < width && y < height)) continue;
        /* it fades out over one step around the patch */
        float u, v, inside = min_float(min_float(x + 1, width - x), min_float(min_float(y + 1, height - y), 1));
        sample(patch->field, patch->height, patch->width, x, y, &u, &v);
        xs[j] += to_fixed(u * placing[2] * inside, one) * PART, ys[j] += to_fixed(v * placing[2] * inside, one) * PART;
    }
}

/* The source positions of row `i`, as pixels of the photo and fractions. */
SIMD_CLONES static void locate_row(const Photo *photo, const float *placing, const Patch *patches, size i, const Work *work, Span row,
                          int inside) {
    const int32_t *restrict x = work->x.pixels, *restrict y = work->y.pixels, *restrict light = work->light.pixels;
    int is_moved = 0;
    for (const Patch *patch = patches; patch->field; patch++) is_moved |= affects(patch, i, i + 1);
    if (is_moved || !inside) {
        int32_t *moved_x = work->moved_x, *moved_y = work->moved_y;
        for (size j = row.begin; j < row.end; j++) moved_x[j] = x[j] & -PART, moved_y[j] = y[j] & -PART;
        for (const Patch *patch = patches; patch->field; patch++)
            if (affects(patch, i, i + 1)) displace(patch, placing, moved_x, moved_y, intersect(row, patch->columns));
        /* the last position with a pixel to the right and one below */
        const int32_t most_x = (int32_t)((photo->width - 1) << FRACTION) - 1, most_y = (int32_t)((photo->height - 1) << FRACTION) - 1;
        for (size j = row.begin; j < row.end; j++)
            moved_x[j] = clamp_index(moved_x[j], most_x), moved_y[j] = clamp_index(moved_y[j], most_y);
        x = moved_x, y = moved_y;
    }
    const int shift = FRACTION - WEIGHT;
    const int32_t mask = (1 << WEIGHT) - 1;
    const uint32_t width = (uint32_t)photo->width;
    uint32_t *restrict at = work->line.at;
    uint16_t *restrict right = work->line.right, *restrict down = work->line.down, *restrict gain = work->line.gain;
    for (size j = row.begin; j < row.end; j++) {
        at[j] = (uint32_t)(y[j] >> FRACTION) * width + (uint32_t)(x[j] >> FRACTION);
        right[j] = (uint16_t)((x[j] >> shift & mask) << 8), down[j] = (uint16_t)(y[j] >> shift & mask);
    }
    const Span lit = intersect(row, work->line.lit);
    for (size j = lit.begin; j < lit.end; j++) gain[j] = (uint16_t)(light[j] >> 1);
}

/* Blend a row into the frame with the opacity `share`, 0..255. */
static void share_row(const uint8_t *row, const uint8_t *share, uint8_t *out, Span where) {
    for (size j = where.begin; j < where.end; j++)
        for (size k = 3 * j; k < 3 * j + 3; k++)
            out[k] = (uint8_t)((row[k] * share[j] + out[k] * (255u - share[j]) + 127u) / 255u);
}

/* Copy the photo on both sides of the drawn columns. */
static void copy_beside(uint8_t *out, const uint8_t *photo_row, const uint8_t *share, Span drawn, size width) {
    if (drawn.begin >= drawn.end) drawn = (Span){width, width};
    const Span left = {0, drawn.begin}, right = {drawn.end, width};
    if (share) {
        share_row(photo_row, share, out, left);
        share_row(photo_row, share, out, right);
    } else {
        memcpy(out, photo_row, (size_t)(3 * left.end));
        memcpy(out + 3 * right.begin, photo_row + 3 * right.begin, (size_t)(3 * (width - right.begin)));
    }
}

/* Whether light changes anywhere in the cell right of column k. */
static inline int is_lit(const Quantity *light, size k) {
    const int32_t one = 1 << FRACTION;
    return light->here[k] != one || light->here[k + 1] != one || light->next[k] != one || light->next[k + 1] != one;
}

/* The pixels of the cells right of columns `begin` up to `end`. */
static inline Span pixels_in(Span cells, size cell, size lead, size width) {
    if (cells.begin >= cells.end) return (Span){width, 0};
    return (Span){max(cells.begin * cell - lead, 0), min(cells.end * cell - lead, width)};
}

static void warp_area(const Area *area, const Nodes *nodes, const Photo *photo, const float *placing, const Patch *patches,
                      const uint8_t *behind, size behind_stride, const uint8_t *still, const uint8_t *share, Work *work) {
    const size cell = nodes->cell, lead = area->left - nodes->left - cell / 2;
    size above = area->top - nodes->top - cell / 2, row = above / cell;
    int inside = read_nodes(nodes, row, photo, placing, work), inside_next;
    Quantity *numbers[3] = {&work->x, &work->y, &work->light};
    for (size i = 0; i < area->height; row++) {
        uint8_t *rests = work->rests;
        work->rests = work->rests_next, work->rests_next = rests;
        for (int n = 0; n < 3; n++) {
            int32_t *here = numbers[n]->here;
            numbers[n]->here = numbers[n]->next, numbers[n]->next = here;
        }
        inside_next = read_nodes(nodes, row + 1, photo, placing, work);
        /* where the four nodes of a cell are at rest, the frame shows the unchanged photo */
        Span moving = {work->last, work->first}, lit = moving;
        for (size k = work->first; k < work->last; k++) {
            if (!still || !(work->rests[k] & work->rests[k + 1] & work->rests_next[k] & work->rests_next[k + 1]))
                moving = (Span){min(moving.begin, k), k + 1};
            if (nodes->gain && is_lit(&work->light, k)) lit = (Span){min(lit.begin, k), k + 1};
        }
        moving = pixels_in(moving, cell, lead, area->width), lit = pixels_in(lit, cell, lead, area->width);
        /* (four pixels are processed together, and all are lit if one is) */
        if (lit.begin < lit.end) lit = (Span){lit.begin - 3, lit.end + 3};
        size done = above + i - row * cell, stop = min(i + cell - done, area->height);
        while (i < stop) {
            const size end_of_block = min(stop, i + BLOCK);
            Span drawn = moving;
            for (const Patch *patch = patches; patch->field; patch++)
                if (affects(patch, i, end_of_block))
                    drawn = (Span){min(drawn.begin, patch->columns.begin), max(drawn.end, patch->columns.end)};
            work->line.lit = intersect(drawn, lit);
            begin_block(&work->x, cell, lead, drawn, done, PART / 2);
            begin_block(&work->y, cell, lead, drawn, done, PART / 2);
            begin_block(&work->light, cell, lead, work->line.lit, done, 0);
            for (done += end_of_block - i; i < end_of_block; i++) {
                uint8_t *out = area->pixels + i * area->stride;
                const uint8_t *shared = share ? share + i * area->width : NULL;
                if (still) copy_beside(out, still + i * area->stride, shared, drawn, area->width);
                Span here = drawn;
                while (shared && here.begin < here.end && !shared[here.begin]) here.begin++;
                while (shared && here.begin < here.end && !shared[here.end - 1]) here.end--;
                if (here.begin < here.end) {
                    const uint8_t *back = behind ? behind + i * behind_stride : work->black;
                    locate_row(photo, placing, patches, i, work, here, inside & inside_next);
                    render_row(*photo, work->line, back, shared ? work->row : out, here);
                    if (shared) share_row(work->row, shared, out, here);
                }
                step_down(&work->x, drawn), step_down(&work->y, drawn), step_down(&work->light, work->line.lit);
            }
        }
        inside = inside_next;
    }
}

/* Allocate all the memory that `work` needs, in one block; NULL if there is too little. */
static void *allocate(Work *work, const Nodes *nodes, const Area *area) {
    const size cell = nodes->cell, n_nodes = (nodes->columns + 1 + 3) / 4 * 4, n_pixels = (area->width + SPARE + 3) / 4 * 4;
    const size n_numbers = 3 * (6 * n_nodes + 2 * n_pixels) + 2 * n_pixels, n_line = n_pixels + 3 * n_pixels / 2;
    const size n_bytes = 2 * n_nodes + 2 * 4 * n_pixels;
    work->first = (area->left - nodes->left - cell / 2) / cell;
    work->last = (area->left + area->width - 1 - nodes->left - cell / 2) / cell + 1;
    int32_t *memory = PyMem_Calloc((size_t)(n_numbers + n_line + n_bytes / 4), sizeof(int32_t));
    if (!memory) return NULL;
    int32_t *next = memory;
    Quantity *numbers[3] = {&work->x, &work->y, &work->light};
    for (int i = 0; i < 3; i++) {
        int32_t **of_nodes[6] = {&numbers[i]->here, &numbers[i]->next,  &numbers[i]->now,
                                 &numbers[i]->down, &numbers[i]->right, &numbers[i]->wider};
        for (int k = 0; k < 6; k++, next += n_nodes) *of_nodes[k] = next;
        numbers[i]->pixels = next, numbers[i]->steps = next + n_pixels, next += 2 * n_pixels;
    }
    work->moved_x = next, work->moved_y = next + n_pixels, next += 2 * n_pixels;
    work->line.at = (uint32_t *)next, next += n_pixels;
    uint16_t *shorts = (uint16_t *)next;
    work->line.right = shorts, work->line.down = shorts + n_pixels, work->line.gain = shorts + 2 * n_pixels;
    work->rests = (uint8_t *)(shorts + 3 * n_pixels), work->rests_next = work->rests + n_nodes;
    work->row = work->rests_next + n_nodes, work->black = work->row + 4 * n_pixels;
    return memory;
}

#define MOST_PATCHES 4

/* Read patches from a tuple of (field, (left, top, step), (left, top, right, bottom)); the last has a NULL field. */
static int read_patches(PyObject *given, Array *arrays, const Area *area, Patch *patches) {
    size n = PyTuple_GET_SIZE(given);
    if (n > MOST_PATCHES) {
        PyErr_Format(PyExc_ValueError, "patches: %zd; at most %d are possible", n, MOST_PATCHES);
        return -1;
    }
    for (size k = 0; k < n; k++) {
        PyObject *field;
        size box[4];
        Patch *patch = patches + k;
        if (!is_tuple(PyTuple_GET_ITEM(given, k), "patch") ||
            !PyArg_ParseTuple(PyTuple_GET_ITEM(given, k), "O(fff)(nnnn)", &field, &patch->left, &patch->top, &patch->step,
                              &box[0], &box[1], &box[2], &box[3]) ||
            acquire(field, &arrays[k], "patch", "f", 3, 0) < 0 || !has_shape(&arrays[k], "patch", 2, 2))
            return -1;
        patch->field = arrays[k].view.buf, patch->height = arrays[k].view.shape[0], patch->width = arrays[k].view.shape[1];
        if (patch->height < 2 || patch->width < 2 || !(patch->step > 0)) {
            PyErr_SetString(PyExc_ValueError, "patch: at least 2 x 2 values and a step over 0 are needed");
            return -1;
        }
        size ends[4] = {box[0] - area->left, box[2] - area->left, box[1] - area->top, box[3] - area->top};
        for (int i = 0; i < 4; i++) {
            ends[i] = max(0, min(ends[i], i < 2 ? area->width : area->height));
        }
        patch->columns.begin = ends[0], patch->columns.end = ends[1], patch->above = ends[2], patch->below = ends[3];
    }
    patches[n].field = NULL;
    return 0;
}

static PyObject *warp(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *objects[8];
    size box[4], grid[3], behind_at[2];
    float placing[3];
    Patch patches[MOST_PATCHES + 1];
    Array arrays[8 + MOST_PATCHES] = {{.is_acquired = 0}};
    PyObject *result = NULL;
    void *memory = NULL;
    if (!PyArg_ParseTuple(args, "O(nnnn)OOO(nnn)O(fff)O(nn)O!O", &objects[0], &box[0], &box[1],
                          &box[2], &box[3], &objects[6], &objects[1], &objects[2], &grid[0], &grid[1], &grid[2], &objects[3],
                          &placing[0], &placing[1], &placing[2], &objects[4], &behind_at[0], &behind_at[1], &PyTuple_Type,
                          &objects[5], &objects[7]))
        return NULL;
    int has_gain = objects[2] != Py_None, has_behind = objects[4] != Py_None, has_still = objects[6] != Py_None,
        has_share = objects[7] != Py_None;
    if (acquire(objects[0], &arrays[0], "out", "B", 3, 1) < 0 || acquire(objects[1], &arrays[1], "nodes", "f", 3, 0) < 0 ||
        (has_gain && acquire(objects[2], &arrays[2], "gain", "f", 2, 0) < 0) ||
        acquire(objects[3], &arrays[3], "photo", "B", 3, 0) < 0 ||
        (has_behind && acquire(objects[4], &arrays[4], "behind", "B", 3, 0) < 0) ||
        (has_still && acquire(objects[6], &arrays[6], "still", "B", 3, 0) < 0) ||
        (has_share && acquire(objects[7], &arrays[7], "share", "B", 2, 0) < 0))
        goto done;
    const Py_buffer *out = &arrays[0].view, *photo = &arrays[3].view;
    Nodes nodes = {arrays[1].view.buf, has_gain ? arrays[2].view.buf : NULL, arrays[1].view.shape[0], arrays[1].view.shape[1],
                   grid[0], grid[1], grid[2]};
    Area area = {NULL, box[0], box[1], box[2] - box[0], box[3] - box[1], 3 * out->shape[1]};
    if (!has_shape(&arrays[0], "out", 2, 3) || !has_shape(&arrays[1], "nodes", 2, 2) || !has_shape(&arrays[3], "photo", 2, 4) ||
        (has_behind && !has_shape(&arrays[4], "behind", 2, 3)))
        goto done;
    for (int axis = 0; has_gain && axis < 2; axis++)
        if (!has_shape(&arrays[2], "gain", axis, arrays[1].view.shape[axis])) goto done;
    for (int axis = 0; has_still && axis < 3; axis++)
        if (!has_shape(&arrays[6], "still", axis, out->shape[axis])) goto done;
    if (read_patches(objects[5], arrays + 8, &area, patches) < 0) goto done;
    for (int axis = 0; has_share && axis < 2; axis++)
        if (!has_shape(&arrays[7], "share", axis, axis ? area.width : area.height)) goto done;
    const char *wrong = NULL;
    if (box[2] < box[0] || box[3] < box[1]) wrong = "box: its right and bottom must not lie before its left and top";
    else if (nodes.cell < 1 || nodes.cell > 16383) wrong = "grid: a cell is 1 to 16383 pixels";
    else if (photo->shape[0] < 2 || photo->shape[1] < 2 || photo->shape[0] > 16383 || photo->shape[1] > 16383)
        wrong = "photo: 2 to 16383 pixels a side are needed";
    else if (!(placing[2] > 0)) wrong = "placing: the scale must be over 0";
    else if (box[0] < 0 || box[1] < 0 || box[2] > out->shape[1] || box[3] > out->shape[0])
        wrong = "box: must lie in out";
    else if (has_behind && (box[0] < behind_at[0] || box[1] < behind_at[1] ||
                            box[2] > behind_at[0] + arrays[4].view.shape[1] ||
                            box[3] > behind_at[1] + arrays[4].view.shape[0]))
        wrong = "box: must lie in behind";
    else if (area.width && area.height &&
             (box[0] - grid[0] < nodes.cell / 2 || box[1] - grid[1] < nodes.cell / 2 ||
              /* (check the beginning first, so that the expressions for the end cannot overflow) */
              (box[0] - grid[0]) / nodes.cell > nodes.columns || (box[1] - grid[1]) / nodes.cell > nodes.rows ||
              (box[2] - 1 - grid[0] - nodes.cell / 2) / nodes.cell + 1 >= nodes.columns ||
              (box[3] - 1 - grid[1] - nodes.cell / 2) / nodes.cell + 1 >= nodes.rows))
        wrong = "box: must lie between the nodes";
    if (wrong) {
        PyErr_SetString(PyExc_ValueError, wrong);
        goto done;
    }
    if (!area.width || !area.height) {
        result = Py_None;
        goto done;
    }
    Work work;
    memory = allocate(&work, &nodes, &area);
    if (!memory) {
        PyErr_NoMemory();
        goto done;
    }
    area.pixels = (uint8_t *)out->buf + area.stride * box[1] + 3 * box[0];
    const uint8_t *still = has_still ? (const uint8_t *)arrays[6].view.buf + (area.pixels - (uint8_t *)out->buf) : NULL;
    Photo source = {photo->buf, photo->shape[1], photo->shape[0]};
    const uint8_t *behind = NULL;
    size behind_stride = 0;
    if (has_behind) {
        behind_stride = 3 * arrays[4].view.shape[1];
        behind = (const uint8_t *)arrays[4].view.buf + behind_stride * (box[1] - behind_at[1]) + 3 * (box[0] - behind_at[0]);
    }
    Py_BEGIN_ALLOW_THREADS
    warp_area(&area, &nodes, &source, placing, patches, behind, behind_stride, still, has_share ? arrays[7].view.buf : NULL, &work);
    Py_END_ALLOW_THREADS
    result = Py_None;
done:
    PyMem_Free(memory);
    release(arrays, 8 + MOST_PATCHES);
    Py_XINCREF(result);
    return result;
}

static PyMethodDef methods[] = {{"weighted", weighted, METH_VARARGS, NULL},
                                {"bounds", bounds, METH_O, NULL},
                                {"invert", invert, METH_VARARGS, NULL},
                                {"sampled", sampled, METH_VARARGS, NULL},
                                {"warp", warp, METH_VARARGS, NULL},
                                {"outline", outline, METH_VARARGS, NULL},
                                {"tint", tint, METH_VARARGS, NULL},
                                {"between_lips", between_lips, METH_VARARGS, NULL},
                                {"lowered", lowered, METH_VARARGS, NULL},
                                {"lay_skin", lay_skin, METH_VARARGS, NULL},
                                {"turned", turned, METH_VARARGS, NULL},
                                {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_pixels", "The renderer's inner loops.", -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__pixels(void) { return PyModule_Create(&module); }
