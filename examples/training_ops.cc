// Layers other than attention: convolution, pooling, a gate and a recurrent layer, recorded as single ops
// (docs/training.md).
#include <clearhead/clearhead.h>

#include <cstdio>

using namespace clearhead;

int main() {
  Training training(/*seed=*/1);
  const Tensor images = training.parameter({3, 1, 28, 28}, 1), filters = training.parameter({16, 1, 3, 3}, 0.3),
               bias = training.parameter({16}, 0);
  const Tensor w = training.parameter({3 * 32, 8 * 14}, 0.1), u = training.parameter({3 * 32, 32}, 0.1),
               sequence = training.parameter({3, 9, 8 * 14}, 1);
  // [docs/training.md]
  Tensor x = training.conv(images, filters, bias, {.padding = {1, 1}});                       // [batch, 16, 28, 28]
  x = training.max_pool(training.activate("relu", x), {.kernel = {2, 2}, .stride = {2, 2}});  // [batch, 16, 14, 14]
  Tensor gate = x.slice(1, 0, 8), value = x.slice(1, 8, 16);                                  // splitting needs no op
  Tensor states = training.gru(sequence, {.input_weight = w, .hidden_weight = u, .lengths = {7, 5, 9}});
  // [/docs/training.md]
  const Tensor gated = training.multiply(gate, value);
  std::printf("%s of the image, %s of the sequence\n", to_string(gated.shape()).c_str(), to_string(states.shape()).c_str());
  return gated.shape() == Shape{3, 8, 14, 14} && states.shape() == Shape{3, 9, 32} ? 0 : 1;
}
