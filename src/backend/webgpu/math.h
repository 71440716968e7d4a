/* Functions of numbers in WGSL, which has most of them too but leaves drivers more freedom than the bounds of ops.def do:
 * exp and log may be off by units in the last place that grow with x, sin, cos, tanh and pow by far more, and a comparison
 * with NaN may give anything. A family asks for a function by its name, which puts it, and what it calls, in the module.
 *
 *     mia__kernel_math(k, "m_exp");                           // fn m_exp(x: f32) -> f32
 *     mia__kernel_put(k, "... m_exp(x - most) ...");
 *
 * What they rest on: +, -, * and conversions rounded correctly, a division that is off by 2.5 units in the last place,
 * and arithmetic of bits. A product and a sum may be fused or not. Where the order of additions decides, values go
 * through m_kept, which no compiler can see through. */
#ifndef MIA_BACKEND_WEBGPU_MATH_H
#define MIA_BACKEND_WEBGPU_MATH_H

#include "backend/webgpu/kernel.h"

/* Puts functions of math.c, with blanks between their names, into the dispatch's module, unless they are there:
 *     m_nan() m_infinity() m_is_nan(x) m_min(a, b) m_max(a, b)     NaN if either is
 *     m_exp(x) m_expm1(x <= 0) m_log(x) m_softplus(x) m_pow(a, b)
 *     m_sigmoid(x) m_tanh(x) m_erf(x) m_gelu(x) m_gelu_tanh(x)
 *     m_sin(x) m_cos(x) m_sine(r, q)      of any x; sine of r + q quarter turns, |r| <= pi / 4
 *     m_divide(a, b) m_sqrt(a) m_fmod(a, b) m_mod(a, b)
 *     m_quotient(a, b) m_inverse(x)       rounded as IEEE's is; 0 for 1 / 0
 *     m_to_half(x) -> u32 m_of_half(b)    f16s, by bits
 *     m_kept(x) m_kept4(x: vec4<f32>)              x, through which no compiler can see
 *     m_product(a, b) m_sum(a, b) -> vec2<f32>     rounded, and what was lost
 *     m_mul_high(a: u32, b: u32) -> u32            upper half of the product
 *     m_philox(block: u32, key: vec2<u32>) -> vec4<u32>
 *     m_ipow(a, b) m_upow(a, b)                    of i32 and u32, wrapping */
void mia__kernel_math(mia__kernel *k, const char *names);

#endif
