// The JSON of a description: an accepted description is written and read back unchanged, and validation handles any shape.
#include "clearhead/spec.h"
#include "fuzz.h"
#include "numbers.h"

using namespace clearhead;

namespace {

// Operands that fit the shape below, so that descriptions get past the first check.
Tensor operand(const std::string& name) {
  if (name.starts_with("slopes") || name.starts_with("sinks")) return Tensor::zeros({2});
  if (name.starts_with("additive")) return Tensor::zeros({2, 8});
  if (name == "relative.query_bias") return Tensor::zeros({2, 8});
  if (name == "relative.values") return Tensor::zeros({1, 7, 5});
  if (name.starts_with("relative")) return Tensor::zeros({1, 7, 8});
  if (name.starts_with("mask")) return Tensor::zeros({1, 1, 3, 4}, DType::kBool);
  if (name.find("queries") != std::string::npos) return Tensor::zeros({1, 3}, DType::kI32);
  if (name.find("keys") != std::string::npos) return Tensor::zeros({1, 4}, DType::kI32);
  return Tensor::zeros({1, 2, 3, 4});
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  allow_errors([&] {
    const AttentionSpec spec = spec_from_json(std::string(reinterpret_cast<const char*>(data), size), "fuzz.json", operand);
    const std::string once = to_json(spec);
    must(to_json(spec_from_json(once, "again.json", operand)) == once);
    allow_errors([&] { validate(spec, {.batch = 1, .heads = 2, .key_heads = 1, .queries = 3, .keys = 4, .d_k = 8, .d_v = 5}); });
    allow_errors([&] { validate(spec, {}); });
  });
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  return change_numbers(JsonPlace::kWhole, data, size, max_size, seed);
}
