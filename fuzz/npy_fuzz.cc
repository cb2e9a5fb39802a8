// The bytes of a .npy file: an array that is read, written and read again has the same elements.
#include "fuzz.h"
#include "io/npy.h"

using namespace clearhead;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  allow_errors([&] {
    const std::shared_ptr<const char> bytes = own(data, size);
    const Tensor tensor = io::parse_npy({bytes.get(), size}, bytes, "fuzz.npy");
    const std::string again = io::npy_bytes(tensor);
    const Tensor back = io::parse_npy(again, nullptr, "again.npy");
    const Tensor rows = tensor.contiguous();
    must(back.shape() == tensor.shape() && back.dtype() == tensor.dtype());
    must(tensor.numel() == 0 || std::memcmp(back.raw(), rows.raw(), rows.bytes()) == 0);
  });
  return 0;
}
