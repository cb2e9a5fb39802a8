// The example of a trained model, which its directory describes in example.json: an input, the state in which
// the viewer opens it, and a sentence that says what to look for.
//
//   {"input": "We saw a red car.", "state": "v=lines&f=cross&h=2.1", "look_for": {"en": "…", "zh": "…"}}
#pragma once

#include <string>

#include "clearhead/model.h"

namespace clearhead {

/// The sentence that says what to look for, in the viewer's two languages.
struct LookFor {
  std::string en{}, zh{};
  bool given() const { return !en.empty(); }
};

struct ModelExample {
  std::string input{};     ///< a text; for a model that reads pictures or sounds, the path of a file
  std::string question{};  ///< a question about a story or a scene; otherwise empty
  std::string state{};     ///< as in the URL of the viewer
  LookFor look_for{};
};

/// Reads DIRECTORY/example.json of a model. "input" is a text, a list of its lines (the sentences of a document, the statements
/// of a story, the turns of a dialogue), or the name of a file in the same directory. "question" is optional; all other fields
/// are required.
/// Throws kNotFound if example.json or the file named by "input" is missing; kFormat and kUnsupported with the field's name.
ModelExample read_example(const ModelInfo& model);

}  // namespace clearhead
