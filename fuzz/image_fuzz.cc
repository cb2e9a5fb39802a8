// The bytes of a picture: a decoded picture has as many numbers as its shape requires, each from 0 to 1.
#include "fuzz.h"
#include "io/image.h"

using namespace clearhead;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  allow_errors([&] {
    const Tensor image = io::image_from({reinterpret_cast<const char*>(data), size}, "fuzz", 1 << 20);
    must(image.rank() == 3 && (image.size(0) == 1 || image.size(0) == 3));
    for (int64_t i = 0; i < image.numel(); ++i) must(image.data<float>()[i] >= 0 && image.data<float>()[i] <= 1);
  });
  return 0;
}
