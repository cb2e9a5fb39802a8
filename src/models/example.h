// The example of a trained model, which its directory describes in example.json: an input, the question that the example
// answers, the state in which the viewer opens it, and a sentence that says what to look for.
//
//   {"input": "We saw a red car.", "title": {"en": "How is “red car” translated?", "zh": "…"},
//    "state": "v=lines&f=cross&h=2.1", "look_for": {"en": "…", "zh": "…"}, "order": 1}
#pragma once

#include <optional>
#include <string>

#include "clearhead/model.h"

namespace clearhead {

/// A sentence in the viewer's two languages.
struct Bilingual {
  std::string en{}, zh{};
};

/// A replacement of one word of an example's input.
struct WordChange {
  std::string from{}, to{};
};

struct ModelExample {
  std::string input{};                 ///< a text; for a model that reads pictures or sounds, the path of a file
  std::string question{};              ///< a question about a story or a scene; otherwise empty
  std::string state{};                 ///< as in the URL of the viewer
  Bilingual title{};                   ///< a question that the example answers
  Bilingual look_for{};                ///< what to look for in its maps
  std::optional<WordChange> change{};  ///< the viewer also shows the input with this change
  int64_t order = 1000;                ///< examples with lower numbers are shown first; equal ones by name
};

/// Reads DIRECTORY/example.json of a model. "input" is a text, a list of its lines (the sentences of a document, the statements
/// of a story, the turns of a dialogue), or the name of a file in the same directory. "question", "order" and "change"
/// ({"from": "tired", "to": "wide"}) are optional; all other fields are required.
/// Throws kNotFound if example.json or the file named by "input" is missing; kFormat and kUnsupported with the field's name.
ModelExample read_example(const ModelInfo& model);
/// The input of an example after its change.
std::string changed_input(const ModelExample& example);

}  // namespace clearhead
