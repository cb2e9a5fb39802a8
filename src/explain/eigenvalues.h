// Eigenvalues of a real matrix that is not symmetric.
#pragma once

#include <complex>
#include <cstdint>
#include <vector>

namespace clearhead::explain {

/// The eigenvalues of a matrix [size · size], row-major, in no particular order. Time O(size³). Throws kInvalidArgument for a matrix with a
/// NaN or an infinity, or another number of elements.
std::vector<std::complex<double>> eigenvalues(const std::vector<double>& matrix, int64_t size);

}  // namespace clearhead::explain
