/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Weights in floating point into the fixed point of docs/idse-format.md, in one pass and without the interpreter's lock.
 * NumPy takes a temporary array for every step of it.
 */
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstdint>
#include <limits>

namespace py = pybind11;

namespace {

using Weights = py::array_t<float, py::array::c_style | py::array::forcecast>;
using Fixed = py::array_t<std::uint16_t, py::array::c_style>;

constexpr double ONE = 256, LARGEST = 65535;

void check_shapes(const Weights &weights, const Fixed &out)
{
  if (weights.ndim() != 2 || out.ndim() != 2 || weights.shape(0) != out.shape(0) || weights.shape(1) != out.shape(1))
    throw py::value_error("weights and out: two arrays of the same two dimensions are needed");
}

bool is_weight(float value) { return value >= 0 && value <= std::numeric_limits<float>::max(); } // false for a NaN

/* floor() of a number that is not negative, which compilers make one instruction of: from 2^53 on all are whole. */
double whole(double value)
{
  return value < 9007199254740992.0 ? static_cast<double>(static_cast<std::int64_t>(value)) : value;
}

bool quantise_plane(const Weights &weights, Fixed &out)
{
  check_shapes(weights, out);
  const float   *from = weights.data();
  std::uint16_t *to = out.mutable_data();
  const auto     count = weights.size();

  py::gil_scoped_release unlocked;
  bool                   good = true;
  for (py::ssize_t i = 0; i < count; i++)
  {
    good &= is_weight(from[i]);
    const double fixed = std::min(from[i] * ONE + 0.5, LARGEST);
    to[i] = fixed >= 2 ? static_cast<std::uint16_t>(fixed) : 1;
  }
  return good;
}

bool quantise_blocks(const Weights &weights, py::ssize_t size, Fixed &out)
{
  check_shapes(weights, out);
  const auto rows = weights.shape(0), columns = weights.shape(1);
  if (size < 1 || rows % size || columns % size)
    throw py::value_error("weights: whole blocks of size x size are needed");
  const float   *from = weights.data();
  std::uint16_t *to = out.mutable_data();

  py::gil_scoped_release unlocked;
  bool                   good = true;
  for (py::ssize_t y = 0; y < rows; y += size)
    for (py::ssize_t x = 0; x < columns; x += size)
    {
      double sum = 0, before = 0;
      for (py::ssize_t v = y; v < y + size; v++)
        for (py::ssize_t u = x; u < x + size; u++)
        {
          good &= is_weight(from[v * columns + u]);
          sum += from[v * columns + u];
          const double here = whole(sum * ONE + 0.5), step = here - before;
          to[v * columns + u] = step > 0 ? static_cast<std::uint16_t>(std::min(step, LARGEST)) : 0;
          before = here;
        }
    }
  return good;
}

} // namespace

PYBIND11_MODULE(_quantise, module)
{
  module.doc() = "Weights in floating point into fixed point with 8 fraction bits (docs/idse-format.md).";
  module.def(
      "quantise_plane", &quantise_plane, py::arg("weights"), py::arg("out").noconvert(),
      "Pixel weights, (h, w) float32, into `out`, (h, w) uint16: rounded half up, at least 1, saturated. False if a "
      "weight is NaN, infinite or negative.");
  module.def(
      "quantise_blocks", &quantise_blocks, py::arg("weights"), py::arg("size"), py::arg("out").noconvert(),
      "The same for transform shapes in blocks of size x size. The running sum of each block is rounded, not each "
      "weight, so that errors do not add up: mean 1 stays exactly 1.");
}
