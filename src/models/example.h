// What the folder of a trained model shows of it, in example.json: an input worth a look, the state in which the viewer
// shows it, and the sentence that says what to look for.
//
//   {"input": "We saw a red car.", "state": "v=lines&f=cross&h=2.1", "look_for": {"en": "…", "zh": "…"}}
#pragma once

#include <string>

#include "clearhead/model.h"

namespace clearhead {

/// What to look for in a picture, in the viewer's two languages.
struct LookFor {
  std::string en{}, zh{};
  bool given() const { return !en.empty(); }
};

struct ModelExample {
  std::string input{};     ///< a text; of a model that reads pictures or sounds the path of one
  std::string question{};  ///< about a story or a scene; else empty
  std::string state{};     ///< as in the viewer's address
  LookFor look_for{};
};

/// Reads DIRECTORY/example.json of a model. There "input" is a text, or its lines as a list (a document's sentences, a
/// story's statements, turns), or the name of a file beside it; "question" is optional; the rest is required.
/// Throws kNotFound without the file or the one that "input" names, kFormat and kUnsupported naming the field.
ModelExample read_example(const ModelInfo& model);

}  // namespace clearhead
