// Measures Tokenizer::encode on one core, in megabytes per second: bench_tokenizer FOLDER TEXT [TEXT …]. Best of five runs after loading.
#include <time.h>

#include <algorithm>
#include <cstdio>

#include "base/file.h"
#include "clearhead/error.h"
#include "clearhead/tokenizer.h"

namespace {

// CPU time of this thread, which does not depend on the load of the machine.
double cpu_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 3) {
    std::fprintf(stderr, "usage: bench_tokenizer FOLDER TEXT [TEXT ...]\n");
    return 2;
  }
  try {
    const double loading = cpu_seconds();
    const auto tokenizer = clearhead::Tokenizer::load(arguments[1]);
    std::printf("load %.1f ms\n", 1e3 * (cpu_seconds() - loading));
    for (int i = 2; i < count; ++i) {
      const std::string text = clearhead::read_file(arguments[i]);
      double best = 1e9;
      size_t tokens = 0;
      for (int run = 0; run < 5; ++run) {
        const double start = cpu_seconds();
        tokens = tokenizer->encode(text).size();
        best = std::min(best, cpu_seconds() - start);
      }
      std::printf("%s: %zu bytes, %zu tokens, %.1f MB/s\n", arguments[i], text.size(), tokens,
                  static_cast<double>(text.size()) / best / 1e6);
    }
  } catch (const clearhead::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
