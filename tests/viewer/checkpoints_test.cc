// A watched run's folder: which files are its steps, in which order, and what is refused.
#include "viewer/checkpoints.h"

#include <gtest/gtest.h>

#include "io/scratch.h"
#include "looked_at.h"

namespace clearhead {
namespace {

void put(const ScratchFolder& folder, const char* name, float scale, int64_t tokens = 40) {
  looked_at::Options options{.tokens = tokens};
  options.spec.pair = Dot{scale};
  looked_at::trace_of(options).save(folder / name);
}

TEST(Checkpoints, AreTheFoldersStepsInTheirOrder) {
  const ScratchFolder folder;
  put(folder, "step-000007.trace", 0.2F);
  put(folder, "step-1000000.trace", 0.3F);
  put(folder, "step-000000.trace", 0.1F);
  for (const char* other : {"step-.trace", "step-12.trace.tmp", "step-1x.trace", "readme.txt"}) folder.put(other, "");
  EXPECT_TRUE(is_watch_folder(folder.path()));
  std::vector<LiveSource> sources = open_checkpoints(folder.path(), {});
  ASSERT_EQ(sources.size(), 3U);
  const int64_t steps[] = {0, 7, 1000000};
  for (size_t at = 0; at < 3; ++at) {
    const Json info = sources[at].info();
    EXPECT_EQ(info.find("step")->integer(), steps[at]);
    ASSERT_EQ(info.find("checkpoints")->size(), 3U);
    const Json& own = info.find("checkpoints")->items()[at];
    EXPECT_EQ(own.find("step")->integer(), steps[at]);
    EXPECT_EQ(own.find("id")->string(), info.find("id")->string());
    EXPECT_EQ(info.find("id")->string(), sources[at].id());
  }
  EXPECT_NE(sources[0].id(), sources[1].id());
}

TEST(Checkpoints, OfAnotherTextAreRefused) {
  const ScratchFolder folder;
  put(folder, "step-000000.trace", 0.1F);
  put(folder, "step-000001.trace", 0.1F, 41);
  try {
    (void)open_checkpoints(folder.path(), {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kFormat);
  }
}

TEST(Checkpoints, AFolderWithoutStepsIsNone) {
  const ScratchFolder folder;
  folder.put("model.safetensors", "");
  EXPECT_FALSE(is_watch_folder(folder.path()));
  EXPECT_FALSE(is_watch_folder(folder / "nowhere"));
  EXPECT_THROW((void)open_checkpoints(folder.path(), {}), Error);
}

}  // namespace
}  // namespace clearhead
