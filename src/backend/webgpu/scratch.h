/* What steps need of scratch memory, by the families whose kernels use it. */
#ifndef MIA_BACKEND_WEBGPU_SCRATCH_H
#define MIA_BACKEND_WEBGPU_SCRATCH_H

#include "backend/webgpu/gpu.h"
#include "plan/plan.h"

size_t mia__attention_scratch(const mia__gpu_info *info, const mia__step *step);
size_t mia__halves_scratch(const mia__plan *plan, const mia__step *step);
size_t mia__reduce_scratch(const mia__step *step);
size_t mia__scan_scratch(const mia__step *step);
size_t mia__sort_scratch(const mia__step *step);

#endif
