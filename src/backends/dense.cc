// Names of activations, and the cached bf16 copy of a live weight.
#include "backends/dense.h"

#include "tensor/convert.h"

namespace clearhead {

const Tensor& LiveWeight::rounded() const {
  if (rounded_.defined() && version_ == values.version()) return rounded_;
  if (!rounded_.defined()) rounded_ = Tensor::empty(values.shape(), DType::kBF16);
  convert(values, rounded_);
  version_ = values.version();
  return rounded_;
}

const char* to_string(Activation activation) {
  switch (activation) {
    case Activation::kNone: return "none";
    case Activation::kGeluErf: return "gelu";
    case Activation::kGeluTanh: return "gelu_new";
    case Activation::kRelu: return "relu";
    case Activation::kSilu: return "silu";
    case Activation::kTanh: return "tanh";
    case Activation::kSigmoid: return "sigmoid";
  }
  return "";
}

std::optional<Activation> activation_from(std::string_view name) {
  struct Spelling {
    std::string_view name;
    Activation activation;
  };
  constexpr Spelling kSpellings[] = {{"gelu", Activation::kGeluErf},
                                     {"gelu_python", Activation::kGeluErf},
                                     {"gelu_new", Activation::kGeluTanh},
                                     {"gelu_pytorch_tanh", Activation::kGeluTanh},
                                     {"gelu_fast", Activation::kGeluTanh},
                                     {"gelu_python_tanh", Activation::kGeluTanh},
                                     {"gelu_accurate", Activation::kGeluTanh},
                                     {"relu", Activation::kRelu},
                                     {"silu", Activation::kSilu},
                                     {"swish", Activation::kSilu},
                                     {"tanh", Activation::kTanh},
                                     {"sigmoid", Activation::kSigmoid},
                                     {"linear", Activation::kNone}};
  for (const Spelling& spelling : kSpellings) {
    if (spelling.name == name) return spelling.activation;
  }
  return std::nullopt;
}

}  // namespace clearhead
