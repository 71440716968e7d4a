/* Windows: convolutions and pools. */
#include "backend/reference/element.h"

void mia__reference_convolve(const mia__kernel_args *args) {
    (void)args;
}
void mia__reference_pool(const mia__kernel_args *args) {
    (void)args;
}
