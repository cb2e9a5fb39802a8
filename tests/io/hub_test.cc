// Finding a model in the local hub cache.
#include "io/hub.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <optional>

#include "io/scratch.h"

namespace clearhead::io {
namespace {

const std::vector<const char*> kVariables = {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME"};

// Sets the environment variables for a test and restores them at its end.
class Hub : public ::testing::Test {
 protected:
  Hub() {
    for (const char* name : kVariables) {
      const char* value = ::getenv(name);
      before_.push_back(value ? std::optional<std::string>(value) : std::nullopt);
      ::unsetenv(name);
    }
    ::setenv("HF_HUB_CACHE", folder_.path().c_str(), 1);
  }
  ~Hub() override {
    for (size_t i = 0; i < kVariables.size(); ++i) {
      before_[i] ? ::setenv(kVariables[i], before_[i]->c_str(), 1) : ::unsetenv(kVariables[i]);
    }
  }
  void put(const std::string& repository, const std::string& hash) {
    folder_.put(repository + "/refs/main", hash);
    folder_.put(repository + "/snapshots/" + hash + "/config.json", "{}");
  }

  ScratchFolder folder_;

 private:
  std::vector<std::optional<std::string>> before_;
};

TEST_F(Hub, FindsTheSnapshotThatMainNames) {
  put("models--org--name", "0a1b");
  folder_.put("models--org--name/snapshots/ffff/config.json", "{}");
  EXPECT_EQ(find_in_hub("org/name").directory, folder_ / "models--org--name/snapshots/0a1b");
  EXPECT_EQ(find_in_hub("org/name", "ffff").directory, folder_ / "models--org--name/snapshots/ffff");
}

TEST_F(Hub, ListsThePlacesSearched) {
  const HubSearch search = find_in_hub("org/name");
  EXPECT_EQ(search.directory, "");
  EXPECT_EQ(search.searched, std::vector<std::string>{folder_ / "models--org--name/snapshots/main"});
}

TEST_F(Hub, FindsABareNameOnlyIfOneOrganisationHasIt) {
  put("models--openai-community--gpt2", "1");
  put("models--x--other-gpt2", "2");
  EXPECT_EQ(find_in_hub("gpt2").directory, folder_ / "models--openai-community--gpt2/snapshots/1");
  put("models--another--gpt2", "3");
  const HubSearch two = find_in_hub("gpt2");
  EXPECT_EQ(two.directory, "");
  EXPECT_EQ(two.searched, (std::vector<std::string>{folder_ / "models--gpt2/snapshots/main", folder_ / "models--another--gpt2",
                                                    folder_ / "models--openai-community--gpt2"}));
  put("models--gpt2", "4");
  EXPECT_EQ(find_in_hub("gpt2").directory, folder_ / "models--gpt2/snapshots/4");
}

TEST_F(Hub, UsesTheFirstCacheVariableThatIsSet) {
  put("hub/models--org--name", "1");
  ::setenv("HF_HUB_CACHE", (folder_ / "elsewhere").c_str(), 1);
  ::setenv("HF_HOME", folder_.path().c_str(), 1);
  EXPECT_EQ(find_in_hub("org/name").directory, "");
  ::unsetenv("HF_HUB_CACHE");
  EXPECT_EQ(find_in_hub("org/name").directory, folder_ / "hub/models--org--name/snapshots/1");
  ::unsetenv("HF_HOME");
  ::setenv("HOME", "/home/of/nobody", 1);
  EXPECT_EQ(find_in_hub("org/name").searched,
            std::vector<std::string>{"/home/of/nobody/.cache/huggingface/hub/models--org--name/snapshots/main"});
  ::setenv("XDG_CACHE_HOME", "/caches", 1);
  EXPECT_EQ(find_in_hub("org/name").searched, std::vector<std::string>{"/caches/huggingface/hub/models--org--name/snapshots/main"});
}

TEST_F(Hub, NeverLeavesTheCacheWhateverTheIdOrTheRefSays) {
  for (const char* id : {"", "/", "..", "a/b/c", "../a", "a/..", "a..b/c", "a--b/c", "./model", "/abs/olute", "a b", "org/na\nme"}) {
    EXPECT_TRUE(find_in_hub(id).searched.empty()) << id;
  }
  EXPECT_TRUE(find_in_hub("org/name", "../main").searched.empty());
  put("models--org--name", "1");
  folder_.put("models--org--name/refs/main", "../../outside");
  folder_.put("outside/config.json", "{}");
  EXPECT_EQ(find_in_hub("org/name").directory, "");
}

}  // namespace
}  // namespace clearhead::io
