// The QR algorithm: the matrix is reduced to Hessenberg form, then H ← R·Q + μ with H − μ = Q·R until its subdiagonal vanishes.
//
// Everything is complex, so that pairs of conjugate eigenvalues need no double steps. μ is the eigenvalue of the last 2 × 2 block that is
// closer to its last element (Wilkinson 1965). Source: Golub & Van Loan 2013, "Matrix Computations", algorithms 7.4.2 and 7.5.1.
#include "explain/eigenvalues.h"

#include <algorithm>
#include <cmath>

#include "base/format.h"

namespace clearhead::explain {
namespace {

using Complex = std::complex<double>;

constexpr double kEpsilon = 0x1p-52;
constexpr int kSteps = 60;  // for one eigenvalue; two or three are usual

// The product without the checks for infinities that operator* makes, which take most of the time. The matrix is finite.
Complex times(Complex a, Complex b) { return {a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real()}; }

class Matrix {
 public:
  Matrix(const std::vector<double>& values, int64_t size) : size_(size), values_(values.begin(), values.end()) {}
  Complex& at(int64_t row, int64_t column) { return values_[static_cast<size_t>(row * size_ + column)]; }

  // Gaussian elimination with pivots, as similarity transformations.
  void reduce_to_hessenberg() {
    for (int64_t column = 0; column + 2 < size_; ++column) {
      int64_t pivot = column + 1;
      for (int64_t row = pivot + 1; row < size_; ++row) {
        if (std::abs(at(row, column)) > std::abs(at(pivot, column))) pivot = row;
      }
      if (at(pivot, column) == Complex(0)) continue;
      swap(pivot, column + 1);
      for (int64_t row = column + 2; row < size_; ++row) {
        const Complex factor = at(row, column) / at(column + 1, column);
        if (factor == Complex(0)) continue;
        for (int64_t c = column; c < size_; ++c) at(row, c) -= times(factor, at(column + 1, c));
        for (int64_t r = 0; r < size_; ++r) at(r, column + 1) += times(factor, at(r, row));
      }
    }
  }

  std::vector<Complex> eigenvalues() {
    std::vector<Complex> out(static_cast<size_t>(size_));
    int64_t last = size_ - 1;
    for (int step = 0; last >= 0;) {
      const int64_t first = start_of_block(last);
      if (first == last) {
        out[static_cast<size_t>(last--)] = at(first, first);
        step = 0;
        continue;
      }
      if (++step > kSteps) fail(ErrorCode::kInvalidArgument, "eigenvalues: the QR algorithm does not converge for this matrix");
      qr_step(first, last, step % 10 == 0 ? exceptional_shift(last) : shift(last));
    }
    return out;
  }

 private:
  void swap(int64_t a, int64_t b) {
    if (a == b) return;
    for (int64_t c = 0; c < size_; ++c) std::swap(at(a, c), at(b, c));
    for (int64_t r = 0; r < size_; ++r) std::swap(at(r, a), at(r, b));
  }

  // The first row of the block that ends at `last` and has no vanishing subdiagonal element.
  int64_t start_of_block(int64_t last) {
    for (int64_t row = last; row > 0; --row) {
      const double around = std::abs(at(row - 1, row - 1)) + std::abs(at(row, row));
      if (std::abs(at(row, row - 1)) <= kEpsilon * (around > 0 ? around : 1)) return row;
    }
    return 0;
  }

  Complex shift(int64_t last) {
    const Complex a = at(last - 1, last - 1), d = at(last, last), half = (a - d) / 2.0;
    const Complex root = std::sqrt(half * half + at(last - 1, last) * at(last, last - 1));
    const Complex plus = d + half + root, minus = d + half - root;
    return std::abs(plus - d) < std::abs(minus - d) ? plus : minus;
  }
  // Ends the cycles of matrices such as permutations, whose shift is 0.
  Complex exceptional_shift(int64_t last) { return at(last, last) + std::abs(at(last, last - 1)); }

  void qr_step(int64_t first, int64_t last, Complex mu) {
    for (int64_t i = first; i <= last; ++i) at(i, i) -= mu;
    rotations_.clear();
    for (int64_t i = first; i < last; ++i) {
      const Complex a = at(i, i), b = at(i + 1, i);
      const double norm = std::hypot(std::abs(a), std::abs(b));
      const Complex c = norm > 0 ? a / norm : Complex(1), s = norm > 0 ? b / norm : Complex(0);
      rotations_.push_back({c, s});
      for (int64_t column = i; column <= last; ++column) {
        const Complex x = at(i, column), y = at(i + 1, column);
        at(i, column) = times(std::conj(c), x) + times(std::conj(s), y);
        at(i + 1, column) = times(c, y) - times(s, x);
      }
    }
    for (int64_t i = first; i < last; ++i) {
      const auto& [c, s] = rotations_[static_cast<size_t>(i - first)];
      for (int64_t row = first; row <= std::min(i + 1, last); ++row) {
        const Complex x = at(row, i), y = at(row, i + 1);
        at(row, i) = times(c, x) + times(s, y);
        at(row, i + 1) = times(std::conj(c), y) - times(std::conj(s), x);
      }
    }
    for (int64_t i = first; i <= last; ++i) at(i, i) += mu;
  }

  int64_t size_;
  std::vector<Complex> values_;
  std::vector<std::pair<Complex, Complex>> rotations_{};
};

}  // namespace

std::vector<Complex> eigenvalues(const std::vector<double>& matrix, int64_t size) {
  if (size < 1 || matrix.size() != static_cast<size_t>(size * size))
    fail(ErrorCode::kInvalidArgument, "eigenvalues: found {} elements; expected a square matrix of size {}", matrix.size(), size);
  if (!std::all_of(matrix.begin(), matrix.end(), [](double value) { return std::isfinite(value); }))
    fail(ErrorCode::kInvalidArgument, "eigenvalues: the matrix has a NaN or an infinity");
  Matrix work(matrix, size);
  work.reduce_to_hessenberg();
  return work.eigenvalues();
}

}  // namespace clearhead::explain
