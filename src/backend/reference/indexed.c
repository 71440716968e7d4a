/* Places of a mode by index: take, take_along, scatter, scatter_along. */
#include "backend/reference/element.h"

void mia__reference_take(const mia__kernel_args *args) {
    (void)args;
}
void mia__reference_take_along(const mia__kernel_args *args) {
    (void)args;
}
void mia__reference_scatter(const mia__kernel_args *args) {
    (void)args;
}
void mia__reference_scatter_along(const mia__kernel_args *args) {
    (void)args;
}
void mia__reference_roll(const mia__kernel_args *args) {
    (void)args;
}
void mia__reference_triangle(const mia__kernel_args *args) {
    (void)args;
}
