// The library's kernels for CUDA: one for each type of elements, with the operation as a number, as memory is
// what they wait for. Numbers of 16 bits are computed on as float, integers as 64 bits.

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;
struct f16 { unsigned short bits; };
struct bf16 { unsigned short bits; };

#define THREADS 256

__device__ float load(f16 x) { float r; asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(x.bits)); return r; }
__device__ float load(bf16 x) { return __uint_as_float((u32)x.bits << 16); }
__device__ float load(float x) { return x; }
__device__ double load(double x) { return x; }
__device__ i64 load(u8 x) { return x; }
__device__ i64 load(int x) { return x; }
__device__ i64 load(u32 x) { return x; }
__device__ i64 load(i64 x) { return x; }

__device__ void store(f16* p, float x) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(p->bits) : "f"(x)); }
__device__ void store(bf16* p, float x) {
    u32 b = __float_as_uint(x);
    p->bits = (b & 0x7fffffffu) > 0x7f800000u ? (b >> 16) | 0x40u : (b + 0x7fffu + ((b >> 16) & 1u)) >> 16;
}
__device__ void store(float* p, float x) { *p = x; }
__device__ void store(double* p, double x) { *p = x; }
__device__ void store(u8* p, i64 x) { *p = (u8)x; }
__device__ void store(int* p, i64 x) { *p = (int)x; }
__device__ void store(u32* p, i64 x) { *p = (u32)x; }
__device__ void store(i64* p, i64 x) { *p = x; }

template <class T> struct Lane;
template <> struct Lane<f16> { typedef float type; };
template <> struct Lane<bf16> { typedef float type; };
template <> struct Lane<float> { typedef float type; };
template <> struct Lane<double> { typedef double type; };
template <> struct Lane<int> { typedef i64 type; };
template <> struct Lane<u32> { typedef i64 type; };
template <> struct Lane<i64> { typedef i64 type; };

__device__ u64 thread_index() { return (u64)blockIdx.x * THREADS + threadIdx.x; }

__device__ float unary_of(int op, float x) {
    switch (op) {
        case 0: return -x;
        case 1: return fabsf(x);
        case 2: return expf(x);
        case 3: return logf(x);
        case 4: return sqrtf(x);
        case 5: return sinf(x);
        case 6: return cosf(x);
        case 7: return tanhf(x);
        case 8: return 1.0f / (1.0f + expf(-x));
        case 9: return x > 0.0f ? x : 0.0f;
        case 10: return floorf(x);
        default: return ceilf(x);
    }
}
__device__ double unary_of(int op, double x) {
    switch (op) {
        case 0: return -x;
        case 1: return fabs(x);
        case 2: return exp(x);
        case 3: return log(x);
        case 4: return sqrt(x);
        case 5: return sin(x);
        case 6: return cos(x);
        case 7: return tanh(x);
        case 8: return 1.0 / (1.0 + exp(-x));
        case 9: return x > 0.0 ? x : 0.0;
        case 10: return floor(x);
        default: return ceil(x);
    }
}
__device__ i64 unary_of(int op, i64 x) {
    switch (op) {
        case 0: return (i64)(0 - (u64)x);
        case 1: return x < 0 ? (i64)(0 - (u64)x) : x;
        default: return x > 0 ? x : 0;
    }
}

template <class L> __device__ L float_binary_of(int op, L x, L y, L power) {
    switch (op) {
        case 0: return x + y;
        case 1: return x - y;
        case 2: return x * y;
        case 3: return x / y;
        case 4: return power;
        case 5: return x < y ? x : y;
        default: return x > y ? x : y;
    }
}
__device__ float binary_of(int op, float x, float y) {
    return float_binary_of<float>(op, x, y, op == 4 ? powf(x, y) : 0.0f);
}
__device__ double binary_of(int op, double x, double y) {
    return float_binary_of<double>(op, x, y, op == 4 ? pow(x, y) : 0.0);
}
__device__ i64 binary_of(int op, i64 x, i64 y) {
    switch (op) {
        case 0: return (i64)((u64)x + (u64)y);
        case 1: return (i64)((u64)x - (u64)y);
        case 3: return y == 0 ? 0 : y == -1 ? (i64)(0 - (u64)x) : x / y;
        case 5: return x < y ? x : y;
        case 6: return x > y ? x : y;
        default: return (i64)((u64)x * (u64)y);
    }
}

template <class T> __device__ void unary(int op, const T* in, T* out, u64 count) {
    u64 i = thread_index();
    if (i < count) store(out + i, unary_of(op, load(in[i])));
}

// A side without a pointer is a number, which comes as an element.
template <class T> __device__ void binary(int op, const T* left, const T* right, T x, T y, T* out, u64 count) {
    u64 i = thread_index();
    if (i < count) store(out + i, binary_of(op, load(left ? left[i] : x), load(right ? right[i] : y)));
}

__device__ i64 within(double x, double least, double most, i64 low, i64 high) {
    if (x != x) return 0;
    if (x <= least) return low;
    if (x >= most) return high;
    return (i64)x;
}
__device__ void convert(u8* p, double x) { store(p, within(x, 0.0, 255.0, 0, 255)); }
__device__ void convert(int* p, double x) {
    store(p, within(x, -2147483648.0, 2147483647.0, -2147483648LL, 2147483647LL));
}
__device__ void convert(u32* p, double x) { store(p, within(x, 0.0, 4294967295.0, 0, 4294967295LL)); }
__device__ void convert(i64* p, double x) {
    store(p, within(x, -9223372036854775808.0, 9223372036854775808.0, (i64)(1ULL << 63), (i64)~(1ULL << 63)));
}
__device__ void convert(u8* p, float x) { convert(p, (double)x); }
__device__ void convert(int* p, float x) { convert(p, (double)x); }
__device__ void convert(u32* p, float x) { convert(p, (double)x); }
__device__ void convert(i64* p, float x) { convert(p, (double)x); }
template <class T> __device__ void convert(T* p, i64 x) { store(p, x); }
template <class L> __device__ void to_float(float* p, L x) { *p = (float)x; }
__device__ void convert(f16* p, float x) { store(p, x); }
__device__ void convert(bf16* p, float x) { store(p, x); }
__device__ void convert(float* p, float x) { *p = x; }
__device__ void convert(double* p, float x) { *p = x; }
__device__ void convert(f16* p, double x) { store(p, (float)x); }
__device__ void convert(bf16* p, double x) { store(p, (float)x); }
__device__ void convert(float* p, double x) { *p = (float)x; }
__device__ void convert(double* p, double x) { *p = x; }
template <> __device__ void convert(f16* p, i64 x) { store(p, (float)x); }
template <> __device__ void convert(bf16* p, i64 x) { store(p, (float)x); }
template <> __device__ void convert(float* p, i64 x) { *p = (float)x; }
template <> __device__ void convert(double* p, i64 x) { *p = (double)x; }

template <class A, class B> __device__ void cast(const A* in, B* out, u64 count) {
    u64 i = thread_index();
    if (i < count) convert(out + i, load(in[i]));
}

__device__ float least(float) { return __int_as_float(0xff800000); }
__device__ double least(double) { return __longlong_as_double(0xfff0000000000000ULL); }
__device__ i64 least(i64) { return (i64)(1ULL << 63); }
__device__ float most(float) { return __int_as_float(0x7f800000); }
__device__ double most(double) { return __longlong_as_double(0x7ff0000000000000ULL); }
__device__ i64 most(i64) { return (i64)~(1ULL << 63); }

__device__ float quotient(float x, u64 n) { return x / (float)n; }
__device__ double quotient(double x, u64 n) { return x / (double)n; }
__device__ i64 quotient(i64 x, u64) { return x; }

template <class L> struct Best { L value; u32 at; };

// 0 sum, 1 minimum, 2 maximum, 3 mean, 4 index of the maximum.
template <class L> __device__ Best<L> join(int op, Best<L> a, Best<L> b) {
    switch (op) {
        case 1: a.value = a.value < b.value ? a.value : b.value; break;
        case 2: a.value = a.value > b.value ? a.value : b.value; break;
        case 4: if (b.value > a.value || (b.value == a.value && b.at < a.at)) a = b; break;
        default: a.value = (L)(a.value + b.value);
    }
    return a;
}

// Of [outer, axis, inner] to [outer, parts, inner]: each block makes one number, of `part` elements. The first
// of two stages leaves values and indices in `values` and `places`, where the second finds them.
template <class T>
__device__ void reduce(int op, const T* in, void* out, void* scratch_values, u32* places, int stage, u64 axis,
                       u64 inner, u64 part, u64 parts, u64 total) {
    typedef typename Lane<T>::type L;
    L* values = (L*)scratch_values;
    u64 block = blockIdx.x;
    u64 o = block / (parts * inner), q = (block / inner) % parts, inside = block % inner;
    Best<L> best;
    best.value = op == 1 ? most(L()) : op == 2 || op == 4 ? least(L()) : L();
    best.at = 0xffffffffu;
    u64 end = q * part + part < axis ? q * part + part : axis;
    for (u64 e = q * part + threadIdx.x; e < end; e += THREADS) {
        u64 i = (o * axis + e) * inner + inside;
        Best<L> one;
        if (stage == 2) {
            one.value = values[i];
            one.at = op == 4 ? places[i] : 0;
        } else {
            one.value = load(in[i]);
            one.at = (u32)e;
        }
        best = join(op, best, one);
    }
    __shared__ Best<L> shared[THREADS];
    shared[threadIdx.x] = best;
    __syncthreads();
    for (int step = THREADS / 2; step > 0; step /= 2) {
        if (threadIdx.x < step) shared[threadIdx.x] = join(op, shared[threadIdx.x], shared[threadIdx.x + step]);
        __syncthreads();
    }
    if (threadIdx.x != 0) return;
    best = shared[0];
    if (stage == 1) {
        values[block] = best.value;
        if (op == 4) places[block] = best.at;
    } else if (op == 4) {
        ((u32*)out)[block] = best.at == 0xffffffffu ? 0 : best.at;
    } else {
        store((T*)out + block, op == 3 ? quotient(best.value, total) : best.value);
    }
}

template <class L> __device__ L together(int op, L mine) {
    __shared__ L shared[THREADS];
    __syncthreads();
    shared[threadIdx.x] = mine;
    __syncthreads();
    for (int step = THREADS / 2; step > 0; step /= 2) {
        if (threadIdx.x < step) {
            L other = shared[threadIdx.x + step];
            L here = shared[threadIdx.x];
            shared[threadIdx.x] = op == 0 ? here + other : here > other ? here : other;
        }
        __syncthreads();
    }
    return shared[0];
}

template <class T> __device__ void softmax(const T* in, T* out, u64 columns) {
    typedef typename Lane<T>::type L;
    in += blockIdx.x * columns;
    out += blockIdx.x * columns;
    L largest = least(L());
    for (u64 e = threadIdx.x; e < columns; e += THREADS) {
        L x = load(in[e]);
        largest = x > largest ? x : largest;
    }
    largest = together<L>(1, largest);
    L sum = 0;
    for (u64 e = threadIdx.x; e < columns; e += THREADS) sum += unary_of(2, load(in[e]) - largest);
    sum = together<L>(0, sum);
    for (u64 e = threadIdx.x; e < columns; e += THREADS) {
        store(out + e, unary_of(2, load(in[e]) - largest) / sum);
    }
}

template <class T>
__device__ void layer_norm(const T* in, const T* scale, const T* shift, T* out, u64 columns, float epsilon) {
    typedef typename Lane<T>::type L;
    in += blockIdx.x * columns;
    out += blockIdx.x * columns;
    L sum = 0;
    for (u64 e = threadIdx.x; e < columns; e += THREADS) sum += load(in[e]);
    L mean = together<L>(0, sum) / (L)columns;
    sum = 0;
    for (u64 e = threadIdx.x; e < columns; e += THREADS) {
        L d = load(in[e]) - mean;
        sum += d * d;
    }
    L by = (L)1 / unary_of(4, together<L>(0, sum) / (L)columns + (L)epsilon);
    for (u64 e = threadIdx.x; e < columns; e += THREADS) {
        L x = (load(in[e]) - mean) * by;
        if (scale) x = x * load(scale[e]);
        if (shift) x = x + load(shift[e]);
        store(out + e, x);
    }
}

__device__ void philox(u64 group, u64 seed, u32 c[4]) {
    c[0] = (u32)group;
    c[1] = (u32)(group >> 32);
    c[2] = 0;
    c[3] = 0;
    u32 k0 = (u32)seed, k1 = (u32)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        u32 high_a = __umulhi(0xD2511F53u, c[0]), low_a = 0xD2511F53u * c[0];
        u32 high_b = __umulhi(0xCD9E8D57u, c[2]), low_b = 0xCD9E8D57u * c[2];
        c[0] = high_b ^ c[1] ^ k0;
        c[1] = low_b;
        c[2] = high_a ^ c[3] ^ k1;
        c[3] = low_a;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}
__device__ float unit(u32 bits) { return (float)(bits >> 8) * 5.9604644775390625e-8f; }

// A thread for each group of four. 0: uniform from `first`, `second` wide; 1: normal.
template <class T> __device__ void random(int kind, T* out, u64 count, u64 seed, float first, float second) {
    u64 group = thread_index();
    if (group * 4 >= count) return;
    u32 bits[4];
    philox(group, seed, bits);
    float v[4];
    for (int k = 0; k < 4; k += 2) {
        if (kind == 0) {
            v[k] = __fadd_rn(first, __fmul_rn(unit(bits[k]), second));
            v[k + 1] = __fadd_rn(first, __fmul_rn(unit(bits[k + 1]), second));
        } else {
            float radius = second * sqrtf(-2.0f * logf(unit(bits[k]) + 5.9604644775390625e-8f));
            float angle = 6.283185307179586f * (unit(bits[k + 1]) - 0.5f);
            v[k] = first + radius * cosf(angle);
            v[k + 1] = first + radius * sinf(angle);
        }
    }
    for (int k = 0; k < 4; k++) {
        if (group * 4 + k < count) store(out + group * 4 + k, v[k]);
    }
}

#define K extern "C" __global__ void __launch_bounds__(THREADS)

K random_bits(u32* out, u64 count, u64 seed) {
    u64 group = thread_index();
    if (group * 4 >= count) return;
    u32 bits[4];
    philox(group, seed, bits);
    for (int k = 0; k < 4; k++) {
        if (group * 4 + k < count) out[group * 4 + k] = bits[k];
    }
}

#define OF_NUMBERS(T, N)                                                                                    \
    K unary_##N(int op, const T* in, T* out, u64 count) { unary<T>(op, in, out, count); }                    \
    K binary_##N(int op, const T* left, const T* right, T x, T y, T* out, u64 count) {                       \
        binary<T>(op, left, right, x, y, out, count);                                                        \
    }                                                                                                        \
    K reduce_##N(int op, const T* in, void* out, void* values, u32* places, int stage, u64 axis, u64 inner,  \
                 u64 part, u64 parts, u64 total) {                                                           \
        reduce<T>(op, in, out, values, places, stage, axis, inner, part, parts, total);                      \
    }
#define OF_FLOATS(T, N)                                                                                     \
    K softmax_##N(const T* in, T* out, u64 columns) { softmax<T>(in, out, columns); }                        \
    K layer_norm_##N(const T* in, const T* scale, const T* shift, T* out, u64 columns, float epsilon) {      \
        layer_norm<T>(in, scale, shift, out, columns, epsilon);                                              \
    }
#define OF_RANDOM(T, N)                                                                                     \
    K random_##N(int kind, T* out, u64 count, u64 seed, float first, float second) {                         \
        random<T>(kind, out, count, seed, first, second);                                                    \
    }
#define CAST(A, AN, B, BN) \
    K cast_##AN##_##BN(const A* in, B* out, u64 count) { cast<A, B>(in, out, count); }
#define CASTS(A, AN)                                                                         \
    CAST(A, AN, u8, u8) CAST(A, AN, int, i32) CAST(A, AN, u32, u32) CAST(A, AN, i64, i64)    \
    CAST(A, AN, f16, f16) CAST(A, AN, bf16, bf16) CAST(A, AN, float, f32) CAST(A, AN, double, f64)

OF_NUMBERS(int, i32) OF_NUMBERS(u32, u32) OF_NUMBERS(i64, i64) OF_NUMBERS(f16, f16) OF_NUMBERS(bf16, bf16)
OF_NUMBERS(float, f32) OF_NUMBERS(double, f64)
OF_FLOATS(f16, f16) OF_FLOATS(bf16, bf16) OF_FLOATS(float, f32) OF_FLOATS(double, f64)
OF_RANDOM(f16, f16) OF_RANDOM(bf16, bf16) OF_RANDOM(float, f32)
CASTS(u8, u8) CASTS(int, i32) CASTS(u32, u32) CASTS(i64, i64)
CASTS(f16, f16) CASTS(bf16, bf16) CASTS(float, f32) CASTS(double, f64)
