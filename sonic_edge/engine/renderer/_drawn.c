/* What is drawn over a frame: polygons, the inside of the mouth, lids and lashes.
 *
 * In float, in exactly the order of operations written here, so that every processor gives the same bytes. Nothing outside
 * the given buffers is read or written, whatever numbers are in them. The docstrings for Python are in _pixels.pyi.
 */
#include "_pixels.h"

typedef Floats Colour; /* B, G, R and opacity */

static inline Colour splat(float value) { return (Colour){value, value, value, value}; }

static inline uint8_t grey(float value) { return (uint8_t)(clamp(value, 0, 255) + 0.5f); }

/* Four bytes to floats, and floats, rounded and clamped, to bytes. */
#if defined(__SSE2__)
static inline Colour from_bytes(uint32_t four) {
    __m128i none = _mm_setzero_si128();
    return (Colour)_mm_cvtepi32_ps(_mm_unpacklo_epi16(_mm_unpacklo_epi8(_mm_cvtsi32_si128((int)four), none), none));
}
static inline uint32_t to_bytes(Colour colour) {
    __m128 clamped = _mm_min_ps(_mm_max_ps((__m128)colour, _mm_setzero_ps()), _mm_set1_ps(255)); /* NaN becomes 0 */
    __m128i whole = _mm_cvttps_epi32(_mm_add_ps(clamped, _mm_set1_ps(0.5f))), pairs = _mm_packs_epi32(whole, whole);
    return (uint32_t)_mm_cvtsi128_si32(_mm_packus_epi16(pairs, pairs));
}
#else
static inline Colour from_bytes(uint32_t four) {
    return (Colour)vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(four)))));
}
static inline uint32_t to_bytes(Colour colour) {
    float32x4_t clamped = vminq_f32(vmaxnmq_f32((float32x4_t)colour, vdupq_n_f32(0)), vdupq_n_f32(255));
    uint16x4_t whole = vmovn_u32(vcvtq_u32_f32(vaddq_f32(clamped, vdupq_n_f32(0.5f))));
    return vget_lane_u32(vreinterpret_u32_u8(vmovn_u16(vcombine_u16(whole, whole))), 0);
}
#endif

static inline Colour load_bgr(const uint8_t *at) { return from_bytes(at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16); }

static inline Colour load_bgra(const uint8_t *at) {
    uint32_t four;
    memcpy(&four, at, 4);
    return from_bytes(four);
}

static inline void store(uint8_t *at, Colour colour) {
    uint32_t three = to_bytes(colour);
    at[0] = (uint8_t)three, at[1] = (uint8_t)(three >> 8), at[2] = (uint8_t)(three >> 16);
}

/* Bilinear interpolation between a pixel of a picture [h, w, 4] and its neighbours to the right and below. */
static inline Colour bilinear(const uint8_t *at, size stride, float right, float down) {
    Colour upper = load_bgra(at), lower = load_bgra(at + stride);
    upper += (load_bgra(at + 4) - upper) * splat(right);
    lower += (load_bgra(at + stride + 4) - lower) * splat(right);
    return upper + (lower - upper) * splat(down);
}

static float smoothstep(float x) {
    x = clamp(x, 0, 1);
    return x * x * (3 - 2 * x);
}

/* Part of a frame, [height, width, 3]. */
typedef struct {
    uint8_t *pixels;
    size left, top, width, height, stride;
} Part;

/* The part under a mask [h, w] whose first pixel is at `left`, `top`; NULL pixels and an error if it is outside. */
static Part part_under(const Array *frame, const Array *mask, size left, size top) {
    const size *whole = frame->view.shape, *own = mask->view.shape;
    Part part = {NULL, left, top, own[1], own[0], 3 * whole[1]};
    if (!has_shape(frame, "out", 2, 3)) return part;
    if (left < 0 || top < 0 || left > whole[1] - own[1] || top > whole[0] - own[0])
        PyErr_SetString(PyExc_ValueError, "mask: must lie in out");
    else part.pixels = (uint8_t *)frame->view.buf + top * part.stride + 3 * left;
    return part;
}

/* The source position in the photo of each pixel of a frame, interpolated between the nodes of a grid. */
typedef struct {
    const float *nodes; /* [rows, columns, 2], canvas */
    size rows, columns;
    float left, top, scale; /* of the first node; nodes per pixel */
} Sources;

/* 0 and an error if the grid is invalid. */
static int make_sources(Sources *sources, const Array *nodes, size left, size top, size cell) {
    const size *shape = nodes->view.shape;
    if (!has_shape(nodes, "nodes", 2, 2)) return 0;
    if (shape[0] < 2 || shape[1] < 2 || cell < 1) {
        PyErr_SetString(PyExc_ValueError, "nodes: at least 2 x 2 and a cell of at least a pixel are needed");
        return 0;
    }
    float half = 0.5f * (float)cell - 0.5f;
    *sources = (Sources){nodes->view.buf, shape[0], shape[1], (float)left + half, (float)top + half, 1 / (float)cell};
    return 1;
}

static inline void find_source(const Sources *from, size x, size y, float *u, float *v) {
    sample(from->nodes, from->rows, from->columns, ((float)x - from->left) * from->scale, ((float)y - from->top) * from->scale, u, v);
}

/* ---- outlines ----------------------------------------------------------------------------------------------------- */

#define SPARE 1 /* extra value in a row of areas, for everything right of the last pixel */
#define FLAT 1e-9 /* pixels: a lower edge has no visible area, and its slope may not be finite */

typedef struct {
    float *values; /* [height, width + SPARE] */
    size width, height, first, last; /* the rows that are not empty */
} Areas;

/* Accumulate the signed area right of an edge for each pixel, as differences along the row, as in Levien's font-rs. */
static void add_edge(Areas *areas, double x0, double y0, double x1, double y1) {
    double direction = 1, most = (double)areas->width;
    if (y0 > y1) {
        double x = x0, y = y0;
        x0 = x1, y0 = y1, x1 = x, y1 = y, direction = -1;
    }
    if (!(y1 - y0 > FLAT) || y1 <= 0 || y0 >= (double)areas->height) return;
    const double slope = (x1 - x0) / (y1 - y0);
    size first = y0 > 0 ? (size)y0 : 0, end = y1 < (double)areas->height ? (size)ceil(y1) : areas->height;
    areas->first = min(first, areas->first);
    areas->last = max(end - 1, areas->last);
    for (size row = first; row < end; row++) {
        float *at = areas->values + row * (areas->width + SPARE);
        double above = (double)row > y0 ? (double)row : y0, below = (double)(row + 1) < y1 ? (double)(row + 1) : y1;
        double begin = x0 + (above - y0) * slope, stop = x0 + (below - y0) * slope, high = (below - above) * direction;
        if (begin > stop) {
            double x = begin;
            begin = stop, stop = x;
        }
        /* the whole row is right of an edge left of it, and none of an edge right of it */
        if (stop <= 0) at[0] += (float)high;
        if (stop <= 0 || begin >= most) continue;
        const double share = high / (stop - begin); /* (not finite if the edge is vertical: then it is not used) */
        if (begin < 0) at[0] -= (float)(share * begin), high = share * stop, begin = 0;
        if (stop > most) high = share * (most - begin), stop = most;
        size left = (size)begin, right = (size)ceil(stop);
        if (right <= left + 1) {
            double middle = 0.5 * (begin + stop) - (double)left;
            at[left] += (float)(high * (1 - middle)), at[left + 1] += (float)(high * middle);
            continue;
        }
        /* a trapezoid in each pixel that the edge crosses */
        double before = 0;
        for (size k = left; k < right; k++) {
            double from = begin > (double)k ? begin : (double)k, to = stop < (double)(k + 1) ? stop : (double)(k + 1);
            double area = share * ((to - from) * ((double)(k + 1) - 0.5 * (from + to)) + (from - begin)) - before;
            at[k] += (float)area;
            before += area;
        }
        at[right] += (float)(high - before);
    }
}

/* An unnormalised Gaussian. */
static double gaussian(size k, double sigma) {
    double x = (double)k / sigma;
    return exp(-0.5 * x * x);
}

static inline size clamp_row(size k, size n) { return k < 0 ? 0 : k < n ? k : n - 1; }

/* Blur along the rows and then along the columns, with the border values repeated. `across` is as large as `areas`. */
SIMD_CLONES static void blur(Areas *areas, float *across, float *line, const float *kernel, size radius) {
    const size width = areas->width, stride = width + SPARE;
    for (size row = areas->first; row <= areas->last; row++) {
        const float *from = areas->values + row * stride;
        float *to = across + row * stride;
        for (size k = 0; k < radius; k++) line[k] = from[0], line[radius + width + k] = from[width - 1];
        memcpy(line + radius, from, (size_t)width * sizeof(float));
        memset(to, 0, (size_t)width * sizeof(float));
        for (size j = 0; j <= 2 * radius; j++)
            for (size k = 0; k < width; k++) to[k] += kernel[j] * line[k + j];
    }
    const size first = areas->first, last = areas->last;
    areas->first = max(0, first - radius);
    areas->last = min(last + radius, areas->height - 1);
    for (size row = areas->first; row <= areas->last; row++) {
        float *to = areas->values + row * stride;
        memset(to, 0, (size_t)width * sizeof(float));
        for (size j = -radius; j <= radius; j++) {
            size at = clamp_row(row + j, areas->height);
            if (at < first || at > last) continue;
            const float *from = across + at * stride;
            for (size k = 0; k < width; k++) to[k] += kernel[j + radius] * from[k];
        }
    }
}

SIMD_CLONES static void store_areas(const Areas *areas, float most, uint8_t *out) {
    for (size row = areas->first; row <= areas->last; row++) {
        const float *from = areas->values + row * (areas->width + SPARE);
        uint8_t *to = out + row * areas->width;
        for (size k = 0; k < areas->width; k++) {
            uint8_t value = (uint8_t)(clamp(from[k], 0, 1) * most + 0.5f);
            to[k] = value > to[k] ? value : to[k];
        }
    }
}

#define FURTHEST 1e6 /* pixels: coordinates of corners are clamped to this */

static double clamp_corner(double value) { return value > -FURTHEST ? (value < FURTHEST ? value : FURTHEST) : -FURTHEST; }

static void draw_outlines(const double *points, size n, size n_corners, double left, double top, double scale, float *memory,
                          Areas *areas, size radius, double sigma, float most, uint8_t *out) {
    const size stride = areas->width + SPARE;
    float *across = memory + areas->height * stride, *kernel = across + areas->height * stride;
    areas->values = memory, areas->first = areas->height, areas->last = -1;
    for (size k = 0; k < n; k++, points += 2 * n_corners)
        for (size i = 0; i < n_corners; i++) {
            const double *one = points + 2 * i, *other = points + 2 * ((i + 1) % n_corners);
            /* (pixel centres have integer coordinates) */
            add_edge(areas, clamp_corner((one[0] - left + 0.5) * scale), clamp_corner((one[1] - top + 0.5) * scale),
                     clamp_corner((other[0] - left + 0.5) * scale), clamp_corner((other[1] - top + 0.5) * scale));
        }
    if (areas->first > areas->last) return;
    for (size row = areas->first; row <= areas->last; row++) {
        float *at = areas->values + row * stride, sum = 0;
        for (size k = 0; k < areas->width; k++) {
            sum += at[k];
            at[k] = sum < 0 ? (sum > -1 ? -sum : 1) : (sum < 1 ? sum : 1); /* clockwise or not */
        }
    }
    if (radius) {
        double total = 0;
        for (size j = -radius; j <= radius; j++) total += gaussian(j, sigma);
        /* rounded, so that different math libraries give the same */
        for (size j = -radius; j <= radius; j++)
            kernel[j + radius] = (float)rint(gaussian(j, sigma) / total * 65536) / 65536;
        blur(areas, across, kernel + 2 * radius + 1, kernel, radius);
    }
    store_areas(areas, 255 * most, out);
}

#define SOFTEST 500.0

PyObject *outline(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *objects[2], *result = NULL;
    double left, top, scale, sigma;
    float most, *memory = NULL;
    Array arrays[2] = {{.is_acquired = 0}};
    if (!PyArg_ParseTuple(args, "O(dd)ddfO", &objects[0], &left, &top, &scale, &sigma, &most, &objects[1])) return NULL;
    if (acquire(objects[0], &arrays[0], "points", "d", 3, 0) < 0 || acquire(objects[1], &arrays[1], "out", "B", 2, 1) < 0 ||
        !has_shape(&arrays[0], "points", 2, 2))
        goto done;
    if (!(sigma >= 0 && sigma <= SOFTEST && scale > 0 && most >= 0 && most <= 1)) {
        PyErr_Format(PyExc_ValueError, "softness of 0 to %d, scale over 0 and strength of 0 to 1 are needed", (int)SOFTEST);
        goto done;
    }
    Areas areas = {.width = arrays[1].view.shape[1], .height = arrays[1].view.shape[0]};
    size radius = (size)ceil(3 * sigma);
    if (areas.width && areas.height) {
        memory = PyMem_Calloc((size_t)(2 * areas.height * (areas.width + SPARE) + 4 * radius + 1 + areas.width), sizeof(float));
        if (!memory) {
            PyErr_NoMemory();
            goto done;
        }
        const size *shape = arrays[0].view.shape;
        Py_BEGIN_ALLOW_THREADS
        draw_outlines(arrays[0].view.buf, shape[0], shape[1], left, top, scale, memory, &areas, radius, sigma, most, arrays[1].view.buf);
        Py_END_ALLOW_THREADS
    }
    result = Py_None;
done:
    PyMem_Free(memory);
    release(arrays, 2);
    Py_XINCREF(result);
    return result;
}

PyObject *tint(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *objects[2], *result = NULL;
    size left, top;
    float colour[3], strength;
    int only_darker;
    Array arrays[2] = {{.is_acquired = 0}};
    if (!PyArg_ParseTuple(args, "O(nn)O(fff)fp", &objects[0], &left, &top, &objects[1], &colour[0], &colour[1], &colour[2],
                          &strength, &only_darker))
        return NULL;
    if (acquire(objects[0], &arrays[0], "out", "B", 3, 1) < 0 || acquire(objects[1], &arrays[1], "mask", "B", 2, 0) < 0)
        goto done;
    Part part = part_under(&arrays[0], &arrays[1], left, top);
    if (!part.pixels) goto done;
    const uint8_t *mask = arrays[1].view.buf;
    const Colour wanted = {colour[0], colour[1], colour[2], 0};
    strength /= 255;
    for (size row = 0; row < part.height; row++)
        for (size k = 0; k < part.width; k++, mask++) {
            if (!*mask) continue;
            uint8_t *at = part.pixels + row * part.stride + 3 * k;
            Colour before = load_bgr(at), after = before + (wanted - before) * splat((float)*mask * strength);
            for (int c = 0; only_darker && c < 3; c++) after[c] = after[c] < before[c] ? after[c] : before[c];
            store(at, after);
        }
    result = Py_None;
done:
    release(arrays, 2);
    Py_XINCREF(result);
    return result;
}

/* ---- between the lips --------------------------------------------------------------------------------------------- */

typedef struct {
    const uint8_t *pixels; /* premultiplied, [height, width, 4] */
    size width, height;
    int cubic;
    float down; /* how far it is moved down from its place on the skull, in its own pixels */
} Painting;

#define MOST_PAINTINGS 4
#define LIGHTS 256

typedef struct {
    const uint8_t *opened, *rolled, *light; /* [height, width] of the part; `light` at a quarter of that size */
    size light_width, light_height;
    float shown, rolls, tuck;
    const float *entering; /* the light inside for each light outside, [LIGHTS] */
    float matrix[6];
    size n;
    Painting paintings[MOST_PAINTINGS];
    Colour dark[LIGHTS], lit[MOST_PAINTINGS][LIGHTS]; /* for each level of light */
} Mouth;

/* Look up a painting; transparent beyond its borders. */
static inline Colour sample_painting(const Painting *painting, float x, float y) {
    const size width = painting->width, height = painting->height, border = painting->cubic;
    if (!(x >= (float)border && y >= (float)border && x < (float)(width - 1 - border) && y < (float)(height - 1 - border)))
        return splat(0);
    size column = (size)x, row = (size)y;
    const uint8_t *at = painting->pixels + 4 * (row * width + column);
    if (!border) return bilinear(at, 4 * width, x - (float)column, y - (float)row);
    /* Keys' cubic with a = -.75, as in OpenCV */
    float across[4], along[4], *weights[2] = {across, along}, by[2] = {x - (float)column, y - (float)row};
    for (int k = 0; k < 2; k++) {
        float t = by[k], *w = weights[k], s = 1 - t;
        w[0] = -0.75f * t * s * s, w[3] = -0.75f * s * t * t;
        w[1] = (1.25f * t - 2.25f) * t * t + 1, w[2] = 1 - w[0] - w[1] - w[3];
    }
    Colour found = splat(0);
    at -= 4 * width + 4;
    for (int i = 0; i < 4; i++, at += 4 * width) {
        Colour line = load_bgra(at) * across[0] + load_bgra(at + 4) * across[1] + load_bgra(at + 8) * across[2] +
                      load_bgra(at + 12) * across[3];
        found += line * splat(along[i]);
    }
    for (int c = 0; c < 4; c++) found[c] = clamp(found[c], 0, 255);
    return found;
}

static float mix(float one, float other, float share) { return one + (other - one) * share; }

/* The level of light on a pixel of the part, 0 to LIGHTS - 1. */
static inline int light_at(const Mouth *mouth, const float *light, size row, size column) {
    float y = clamp(((float)row + 0.5f) / 4 - 0.5f, 0, (float)(mouth->light_height - 1));
    float x = clamp(((float)column + 0.5f) / 4 - 0.5f, 0, (float)(mouth->light_width - 1));
    size i = (size)y, j = (size)x; /* (for very large sizes a float may be one too high) */
    if (i > mouth->light_height - 1) i = mouth->light_height - 1;
    if (j > mouth->light_width - 1) j = mouth->light_width - 1;
    const size right = j + 1 < mouth->light_width, down = i + 1 < mouth->light_height ? mouth->light_width : 0;
    const float *at = light + i * mouth->light_width + j;
    float upper = mix(at[0], at[right], x - (float)j), lower = mix(at[down], at[down + right], x - (float)j);
    return grey(255 * mix(upper, lower, y - (float)i));
}

static void draw_mouth(const Mouth *mouth, const Part *part, const Sources *sources, float *light) {
    for (size k = 0; k < mouth->light_width * mouth->light_height; k++) {
        float entering = mouth->entering[mouth->light[k]];
        light[k] = entering + (0.85f - entering) * 0.8f * mouth->tuck;
    }
    const uint8_t *opened = mouth->opened, *rolled = mouth->rolled;
    const float *m = mouth->matrix;
    for (size row = 0; row < part->height; row++)
        for (size column = 0; column < part->width; column++, opened++, rolled++) {
            if (!(*opened | *rolled)) continue;
            uint8_t *at = part->pixels + row * part->stride + 3 * column;
            Colour pixel = load_bgr(at);
            pixel -= pixel * splat((float)*rolled * mouth->rolls);
            if (*opened) {
                int lit = light_at(mouth, light, row, column);
                float x, y, u, v;
                find_source(sources, part->left + column, part->top + row, &x, &y);
                u = x * m[0] + y * m[1] + m[2], v = x * m[3] + y * m[4] + m[5];
                Colour inside = mouth->dark[lit];
                for (size k = 0; k < mouth->n; k++) {
                    const Painting *painting = mouth->paintings + k;
                    Colour layer = sample_painting(painting, u, v - painting->down);
                    inside = inside * splat(1 - layer[3] / 255) + layer * mouth->lit[k][lit];
                }
                pixel += (inside - pixel) * splat((float)*opened * mouth->shown);
            }
            store(at, pixel);
        }
}

/* Read paintings from a tuple of (painting, down, forward, daylight, cubic); -1 and an error. */
static int read_paintings(PyObject *given, Array *arrays, Mouth *mouth, const float *deep, const float *near) {
    mouth->n = PyTuple_GET_SIZE(given);
    if (mouth->n > MOST_PAINTINGS) {
        PyErr_Format(PyExc_ValueError, "paintings: %zd; at most %d are possible", mouth->n, MOST_PAINTINGS);
        return -1;
    }
    for (size k = 0; k < mouth->n; k++) {
        PyObject *pixels;
        Painting *painting = mouth->paintings + k;
        float forward, daylight;
        if (!is_tuple(PyTuple_GET_ITEM(given, k), "painting") ||
            !PyArg_ParseTuple(PyTuple_GET_ITEM(given, k), "Offfp", &pixels, &painting->down, &forward, &daylight, &painting->cubic) ||
            acquire(pixels, &arrays[k], "painting", "B", 3, 0) < 0 || !has_shape(&arrays[k], "painting", 2, 4))
            return -1;
        painting->pixels = arrays[k].view.buf;
        painting->height = arrays[k].view.shape[0], painting->width = arrays[k].view.shape[1];
        for (int l = 0; l < LIGHTS; l++)
            for (int c = 0; c < 3; c++) {
                float lit = mix(deep[3 * l + c], near[3 * l + c], forward);
                mouth->lit[k][l][c] = clamp(mix(lit, 1, daylight), 0, 1);
            }
    }
    return 0;
}

PyObject *between_lips(PyObject *self, PyObject *args) {
    (void)self;
    enum { OUT, OPENED, ROLLED, LIGHT, ENTERING, NODES, MATRIX, DARK, DEEP, NEAR, PAINTINGS };
    PyObject *objects[PAINTINGS + 1], *result = NULL;
    size left, top, grid[3];
    float shown, rolls, tuck, *light = NULL;
    Array arrays[PAINTINGS + MOST_PAINTINGS] = {{.is_acquired = 0}};
    Mouth *mouth = NULL;
    if (!PyArg_ParseTuple(args, "O(nn)OOffOOfO(nnn)OOOOO!", &objects[OUT], &left, &top, &objects[OPENED], &objects[ROLLED], &shown,
                          &rolls, &objects[LIGHT], &objects[ENTERING], &tuck, &objects[NODES], &grid[0], &grid[1], &grid[2],
                          &objects[MATRIX], &objects[DARK], &objects[DEEP], &objects[NEAR], &PyTuple_Type, &objects[PAINTINGS]))
        return NULL;
    static const struct {
        const char *name, *format;
        int n_axes;
    } kinds[PAINTINGS] = {{"out", "B", 3},   {"opened", "B", 2}, {"rolled", "B", 2}, {"light", "B", 2}, {"entering", "f", 1},
                          {"nodes", "f", 3}, {"matrix", "f", 2}, {"dark", "f", 2},   {"deep", "f", 2},  {"near", "f", 2}};
    for (int k = 0; k < PAINTINGS; k++)
        if (acquire(objects[k], &arrays[k], kinds[k].name, kinds[k].format, kinds[k].n_axes, k == OUT) < 0) goto done;
    for (int k = DARK; k < PAINTINGS; k++)
        if (!has_shape(&arrays[k], kinds[k].name, 0, LIGHTS) || !has_shape(&arrays[k], kinds[k].name, 1, 3)) goto done;
    for (int axis = 0; axis < 2; axis++) {
        size quarter = (arrays[OPENED].view.shape[axis] + 3) / 4;
        if (!has_shape(&arrays[ROLLED], "rolled", axis, arrays[OPENED].view.shape[axis]) ||
            !has_shape(&arrays[LIGHT], "light", axis, quarter) ||
            !has_shape(&arrays[MATRIX], "matrix", axis, 2 + axis))
            goto done;
    }
    Sources sources;
    Part part = part_under(&arrays[OUT], &arrays[OPENED], left, top);
    if (!part.pixels || !has_shape(&arrays[ENTERING], "entering", 0, LIGHTS) ||
        !make_sources(&sources, &arrays[NODES], grid[0], grid[1], grid[2]))
        goto done;
    const size *of_light = arrays[LIGHT].view.shape;
    mouth = PyMem_Malloc(sizeof(Mouth));
    light = PyMem_Malloc((size_t)(of_light[0] * of_light[1] + 1) * sizeof(float));
    if (!mouth || !light) {
        PyErr_NoMemory();
        goto done;
    }
    mouth->opened = arrays[OPENED].view.buf, mouth->rolled = arrays[ROLLED].view.buf, mouth->light = arrays[LIGHT].view.buf;
    mouth->light_height = of_light[0], mouth->light_width = of_light[1];
    mouth->shown = shown / 255, mouth->rolls = rolls / 255, mouth->tuck = tuck, mouth->entering = arrays[ENTERING].view.buf;
    memcpy(mouth->matrix, arrays[MATRIX].view.buf, sizeof mouth->matrix);
    if (read_paintings(objects[PAINTINGS], arrays + PAINTINGS, mouth, arrays[DEEP].view.buf, arrays[NEAR].view.buf) < 0) goto done;
    const float *dark = arrays[DARK].view.buf;
    for (int l = 0; l < LIGHTS; l++) mouth->dark[l] = (Colour){dark[3 * l], dark[3 * l + 1], dark[3 * l + 2], 0};
    Py_BEGIN_ALLOW_THREADS
    draw_mouth(mouth, &part, &sources, light);
    Py_END_ALLOW_THREADS
    result = Py_None;
done:
    PyMem_Free(mouth);
    PyMem_Free(light);
    release(arrays, PAINTINGS + MOST_PAINTINGS);
    Py_XINCREF(result);
    return result;
}

/* ---- eyes --------------------------------------------------------------------------------------------------------- */

/* See Eye.lowered in eyes.py. */
SIMD_CLONES static void lower_lid(const float *maps, size n, float top, float blink, float follows, const float *down, float unit,
                            float *moved, float *unrolled) {
    const float *heights = maps, *lids = maps + n, *gaps = maps + 2 * n, *creases = maps + 3 * n, *pulls = maps + 4 * n;
    const float *rims = maps + 5 * n, *middles = maps + 6 * n;
    const float begun = smoothstep(2.5f * blink), rims_up = clamp(4 * blink, 0, 1);
    for (size k = 0; k < n; k++) {
        float v = heights[k], at_rest = creases[k], edge = lids[k] + gaps[k] * blink, crease = at_rest + pulls[k] * follows;
        float rim = lids[k] - rims[k] * rims_up, high = edge - crease > 1e-3f ? edge - crease : 1e-3f;
        float above = (v < top ? v : top) + (v > top ? v - top : 0) * (at_rest - top) / (crease - top);
        float on_lid = (v - crease) * (rim - at_rest) / high + at_rest;
        float source = v < crease ? above : on_lid < rim ? on_lid : rim, shift = (source - v) * unit;
        moved[2 * k] = shift * down[0], moved[2 * k + 1] = shift * down[1];
        unrolled[2 * k] = smoothstep((v - crease + 0.04f) / 0.06f) * middles[k] * begun;
        unrolled[2 * k + 1] = gaps[k] * (1 - blink) * unit;
    }
}

PyObject *lowered(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *objects[3], *result = NULL;
    float top, blink, follows, down[2], unit;
    Array arrays[3] = {{.is_acquired = 0}};
    if (!PyArg_ParseTuple(args, "Offf(ff)fOO", &objects[0], &top, &blink, &follows, &down[0], &down[1], &unit, &objects[1], &objects[2]))
        return NULL;
    if (acquire(objects[0], &arrays[0], "maps", "f", 3, 0) < 0 || acquire(objects[1], &arrays[1], "moved", "f", 3, 1) < 0 ||
        acquire(objects[2], &arrays[2], "unrolled", "f", 3, 1) < 0 || !has_shape(&arrays[0], "maps", 0, 7))
        goto done;
    const size *shape = arrays[0].view.shape;
    for (int k = 1; k < 3; k++)
        for (int axis = 0; axis < 3; axis++)
            if (!has_shape(&arrays[k], "moved and unrolled", axis, axis < 2 ? shape[axis + 1] : 2)) goto done;
    lower_lid(arrays[0].view.buf, shape[1] * shape[2], top, blink, follows, down, unit, arrays[1].view.buf, arrays[2].view.buf);
    result = Py_None;
done:
    release(arrays, 3);
    Py_XINCREF(result);
    return result;
}

/* The skin of a shut lid, and where it shows. */
typedef struct {
    const uint8_t *mask;   /* [height, width] of the part */
    const float *unrolled; /* [rows, columns, 2] */
    const uint8_t *shut;   /* [rows, columns, 4] */
    size rows, columns;
    float left, top, scale, down[2]; /* of the first value; values per pixel; direction down the face, values per pixel */
} Skin;

static void draw_skin(const Skin *skin, const Part *part, const Sources *sources) {
    const float last_x = (float)(skin->columns - 1), last_y = (float)(skin->rows - 1);
    const uint8_t *mask = skin->mask;
    for (size row = 0; row < part->height; row++)
        for (size column = 0; column < part->width; column++, mask++) {
            if (!*mask) continue;
            float x, y, lid, to_shut, right, below;
            find_source(sources, part->left + column, part->top + row, &x, &y);
            x = (x - skin->left) * skin->scale, y = (y - skin->top) * skin->scale;
            if (!(x > -1 && y > -1 && x < last_x + 1 && y < last_y + 1)) continue;
            sample(skin->unrolled, skin->rows, skin->columns, x, y, &lid, &to_shut);
            if (!(lid > 0)) continue;
            x += to_shut * skin->down[0], y += to_shut * skin->down[1];
            const uint8_t *shut = skin->shut + 4 * node_before(skin->rows, skin->columns, x, y, &right, &below);
            Colour found = bilinear(shut, 4 * skin->columns, right, below);
            uint8_t *at = part->pixels + row * part->stride + 3 * column;
            store(at, load_bgr(at) + (found - load_bgr(at)) * splat(lid * (float)*mask / 255));
        }
}

PyObject *lay_skin(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *objects[5], *result = NULL;
    size left, top, grid[3];
    float step, down[2];
    Skin skin;
    Sources sources;
    Array arrays[5] = {{.is_acquired = 0}};
    if (!PyArg_ParseTuple(args, "O(nn)OO(nnn)OO(fff)(ff)", &objects[0], &left, &top, &objects[1], &objects[2], &grid[0], &grid[1],
                          &grid[2], &objects[3], &objects[4], &skin.left, &skin.top, &step, &down[0], &down[1]))
        return NULL;
    if (acquire(objects[0], &arrays[0], "out", "B", 3, 1) < 0 || acquire(objects[1], &arrays[1], "mask", "B", 2, 0) < 0 ||
        acquire(objects[2], &arrays[2], "nodes", "f", 3, 0) < 0 || acquire(objects[3], &arrays[3], "unrolled", "f", 3, 0) < 0 ||
        acquire(objects[4], &arrays[4], "shut", "B", 3, 0) < 0 || !has_shape(&arrays[3], "unrolled", 2, 2) ||
        !has_shape(&arrays[4], "shut", 2, 4))
        goto done;
    for (int axis = 0; axis < 2; axis++)
        if (!has_shape(&arrays[4], "shut", axis, arrays[3].view.shape[axis])) goto done;
    Part part = part_under(&arrays[0], &arrays[1], left, top);
    if (!part.pixels || !make_sources(&sources, &arrays[2], grid[0], grid[1], grid[2])) goto done;
    skin.mask = arrays[1].view.buf, skin.unrolled = arrays[3].view.buf, skin.shut = arrays[4].view.buf;
    skin.rows = arrays[3].view.shape[0], skin.columns = arrays[3].view.shape[1];
    if (skin.rows < 2 || skin.columns < 2 || !(step > 0)) {
        PyErr_SetString(PyExc_ValueError, "unrolled: at least 2 x 2 values and a step over 0 are needed");
        goto done;
    }
    skin.scale = 1 / step, skin.down[0] = down[0] / step, skin.down[1] = down[1] / step;
    Py_BEGIN_ALLOW_THREADS
    draw_skin(&skin, &part, &sources);
    Py_END_ALLOW_THREADS
    result = Py_None;
done:
    release(arrays, 5);
    Py_XINCREF(result);
    return result;
}

/* See Eye.glance in eyes.py. */
SIMD_CLONES static void turn_eye(const float *maps, size n, float x, float y, float go_x, float go_y, float far, float fades,
                                 float *out) {
    const float *us = maps, *vs = maps + n, *across = maps + 2 * n, *down = maps + 4 * n;
    for (size k = 0; k < n; k++) {
        float u = us[k] - x, v = vs[k] - y, whole = smoothstep((far - sqrtf(u * u + v * v)) / fades);
        out[2 * k] = (across[k] * go_x + down[k] * go_y) * whole;
        out[2 * k + 1] = (across[k + n] * go_x + down[k + n] * go_y) * whole;
    }
}

PyObject *turned(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *objects[2], *result = NULL;
    float x, y, go_x, go_y, far, fades;
    Array arrays[2] = {{.is_acquired = 0}};
    if (!PyArg_ParseTuple(args, "O(ff)(ff)ffO", &objects[0], &x, &y, &go_x, &go_y, &far, &fades, &objects[1])) return NULL;
    if (acquire(objects[0], &arrays[0], "maps", "f", 3, 0) < 0 || acquire(objects[1], &arrays[1], "out", "f", 3, 1) < 0 ||
        !has_shape(&arrays[0], "maps", 0, 6))
        goto done;
    const size *shape = arrays[0].view.shape;
    for (int axis = 0; axis < 3; axis++)
        if (!has_shape(&arrays[1], "out", axis, axis < 2 ? shape[axis + 1] : 2)) goto done;
    turn_eye(arrays[0].view.buf, shape[1] * shape[2], x, y, go_x, go_y, far, fades, arrays[1].view.buf);
    result = Py_None;
done:
    release(arrays, 2);
    Py_XINCREF(result);
    return result;
}
