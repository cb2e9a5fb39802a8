// The bytes of a safetensors file: every tensor of a header that passes the check must be readable to its last byte.
#include "fuzz.h"
#include "io/safetensors.h"
#include "numbers.h"

using namespace clearhead;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  allow_errors([&] {
    const std::shared_ptr<const char> bytes = own(data, size);
    const io::SafeTensors file = io::SafeTensors::from_bytes({bytes.get(), size}, bytes, "fuzz.safetensors");
    size_t covered = 0;
    for (const io::TensorEntry& entry : file.entries()) {
      must(file.find(entry.name) == &entry && entry.begin <= entry.end && entry.end <= size);
      covered += entry.end - entry.begin;
      allow_errors([&] {
        const Tensor tensor = file.get(entry.name);
        must(tensor.bytes() == entry.end - entry.begin);
        unsigned sum = 0;
        for (size_t i = 0; i < tensor.bytes(); ++i) sum += static_cast<unsigned>(tensor.raw()[i]);
        must(sum <= 255 * tensor.bytes());
        if (tensor.numel() > 0) must(tensor.clone().bytes() == tensor.bytes());
      });
      file.release(entry.name);
    }
    must(covered <= size);
    allow_errors([&] { file.get("no such tensor"); });
  });
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  return change_numbers(JsonPlace::kHeader, data, size, max_size, seed);
}
