// A model made of parts (clearhead/parts.h): what one Transformer does not say, such as recurrent, hierarchical and convolutional
// networks, and memories. A network is one file of networks/: its paper, its equations, its parts. load(), training and the viewer
// find it by its model_type; nothing else knows its name.
//
// config.json of a network holds "model_type", its own sizes, and for a classifier "id2label". Weights are
// model.safetensors, named by the paths of the parts.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "clearhead/data.h"
#include "clearhead/model.h"
#include "clearhead/parts.h"
#include "models/config.h"
#include "models/rows.h"

namespace clearhead {

/// Pictures that a network reads, and the patches that its maps have.
struct PictureFacts {
  int64_t channels = 0, height = 0, width = 0;
  int64_t patch = 1;  // pixels on a side of a patch; a divisor of both

  int64_t rows() const { return height / patch; }
  int64_t columns() const { return width / patch; }
  int64_t patches() const { return rows() * columns(); }
};

/// Sounds that a network reads, and the frames that its maps have.
struct SoundFacts {
  LogMelOptions mel{};
  int64_t frames = 1;  // of log_mel() in an item of a map
};

struct NetworkFacts {
  std::string reads{};     // name of its kind of input (models/input_kind.h)
  int64_t vocabulary = 0;  // 0: it reads no tokens
  int64_t layers = 1, heads = 1, width = 0;
  int64_t longest = 0;      // tokens in a sequence; 0: no limit
  int64_t slots = 0;        // "story": the latest statements are read, so many; 0: all
  int32_t first_token = 0;  // writers: what a target starts with
  int32_t end_token = -1;   // writers: what ends a target; −1: nothing
  int32_t pad = 0;          // fills the ends of sequences
  std::vector<std::string> labels{};
  bool chooses = false;  // "document": its logits are the weights of its sentences, and the heaviest one is the answer
  PictureFacts picture{};
  SoundFacts sound{};
};

class Network {
 public:
  virtual ~Network() = default;
  const NetworkFacts& facts() const { return facts_; }

  /// [batch, label] of a classifier; [document, sentence] of a network that chooses; [batch·length, vocabulary] of a writer, whose input is the target so far.   source: what
  /// is read beside the input, or null
  virtual Tensor logits(Compute& compute, const Rows& input, const Rows* source) const = 0;

  // Writers only, step by step; others throw kUnsupported.
  /// Reads the sources: fills source, source_lengths and states of the cache, one state a source.
  virtual void read(Compute& compute, const Rows& source, ModelCache& cache) const;
  /// Logits [cache.batch, vocabulary] after one more token of each sequence; the states go on.
  virtual Tensor step(Compute& compute, const std::vector<int32_t>& ids, ModelCache& cache) const;

 protected:
  NetworkFacts facts_{};
};

/// The network of a config, with its parameters made among the given ones. Null for a model_type that is no network.
/// Throws kFormat and kUnsupported, naming the field of the config.
std::unique_ptr<Network> network_of(const Json& config, const std::string& where, Parameters& parameters);
bool is_network(const Json& config);
/// The name of the kind of input (models/input_kind.h) that a model of this config reads.
std::string what_is_read(const Json& config);
/// The model types of all networks, for messages.
std::string network_types();

}  // namespace clearhead
