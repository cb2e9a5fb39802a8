// bench_model [--json] [--minilm FOLDER] [--models FOLDER] [--seconds S] [--threads N] [name …]: the model cases, besides `clearhead bench model`.
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "base/parallel.h"
#include "bench/model.h"
#include "clearhead/error.h"

namespace {

void write_out(int file, const std::string& text) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t count = ::write(file, text.data() + done, text.size() - done);
    if (count <= 0) return;
    done += static_cast<size_t>(count);
  }
}

}  // namespace

int main(int count, char** arguments) {
  clearhead::bench::ModelOptions options;
  bool json = false;
  for (int i = 1; i < count; ++i) {
    const std::string argument = arguments[i];
    const std::string value = i + 1 < count ? arguments[i + 1] : "";
    if (argument == "--json") {
      json = true;
    } else if (argument == "--minilm") {
      options.minilm = value, ++i;
    } else if (argument == "--models") {
      options.models = value, ++i;
    } else if (argument == "--seconds") {
      options.seconds_per_case = std::atof(value.c_str()), ++i;
    } else if (argument == "--threads") {
      clearhead::set_threads(std::atoi(value.c_str())), ++i;
    } else {
      options.filters.push_back(argument);
    }
  }
  try {
    const clearhead::bench::ModelBench bench = clearhead::bench::run_model(options);
    write_out(STDOUT_FILENO, json ? to_json(bench) + "\n" : to_text(bench));
  } catch (const clearhead::Error& error) {
    write_out(STDERR_FILENO, std::string(error.what()) + "\n");
    return 1;
  }
  return 0;
}
