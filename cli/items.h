// What gets shares and is taken away, for why and judge: words, sentences, named parts; and how Ctrl-C ends either with what there is.
#pragma once

#include <atomic>
#include <string>

#include "judge/subject.h"

namespace clearhead::cli {

/// Sets the items of a subject: "word", "token" or "sentence"; or the parts that a JSON file names, if `segments` is given. A network's items stay what they
/// are. Throws what reading the file throws.
void choose_items(judge::Subject& subject, const std::string& what, const std::string& segments = "");
/// Its bytes of the text without blanks at the ends, or its name.
std::string text_of_item(const judge::Subject& subject, const Range& item);

/// Set by Ctrl-C while a Cancellable lives.
std::atomic<bool>& cancel_flag();
class Cancellable {
 public:
  Cancellable();
  ~Cancellable();
  Cancellable(const Cancellable&) = delete;
  Cancellable& operator=(const Cancellable&) = delete;

 private:
  void (*before_)(int);
};

}  // namespace clearhead::cli
