// Questions about stories, in bAbI's format (tasks/babi.h).
#include "tasks/babi.h"
#include "tasks/recipe/example_kind.h"

namespace clearhead::tasks {
namespace {

class Stories final : public Examples {
 public:
  std::vector<LabelledInput> read(const std::string& files, const Recipe& recipe, LeftOut*) const override {
    std::vector<LabelledInput> out;
    for (StoryQuestion& one : read_stories(files, recipe)) out.push_back(std::move(one.asked));
    return out;
  }
};

}  // namespace

const ExampleKind& stories_examples() {
  static const ExampleKind kind = {
      .name = "stories",
      .reads = "story",
      .make = [](const Json*, const std::string&, const std::string&) -> std::unique_ptr<Examples> { return std::make_unique<Stories>(); },
  };
  return kind;
}

}  // namespace clearhead::tasks
