// Opening a model's weights: a single file, or shards with an index.
#include <gtest/gtest.h>

#include "io/safetensors.h"
#include "io/scratch.h"
#include "refused.h"

namespace clearhead::io {
namespace {

std::string refusal(const std::string& directory) {
  return error_of([&] { SafeTensors::open_model(directory); });
}

// Two shards, "a" in the first and "b" in the second, with their index.
void put_shards(const ScratchFolder& folder) {
  write_safetensors(folder / "one.safetensors", {{"a", Tensor::from<float>({1}, {1})}}, {{"format", "pt"}});
  write_safetensors(folder / "two.safetensors", {{"b", Tensor::from<float>({2}, {1})}});
  folder.put("model.safetensors.index.json", R"({"metadata":{"total_size":8},"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})");
}

TEST(OpenModel, PrefersTheSingleFile) {
  const ScratchFolder folder;
  put_shards(folder);
  write_safetensors(folder / "model.safetensors", {{"c", Tensor::zeros({1})}});
  EXPECT_EQ(SafeTensors::open_model(folder.path()).names(), std::vector<std::string>{"c"});
}

TEST(OpenModel, JoinsTheShardsOfAnIndex) {
  const ScratchFolder folder;
  put_shards(folder);
  const SafeTensors model = SafeTensors::open_model(folder.path());
  EXPECT_EQ(model.names(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(model.get("a").data<float>()[0], 1.0f);
  EXPECT_EQ(model.get("b").data<float>()[0], 2.0f);
  EXPECT_EQ(model.metadata().at("format"), "pt");
  model.release("b");
  EXPECT_EQ(model.get("b").data<float>()[0], 2.0f);
}

TEST(OpenModel, NamesTheMissingShard) {
  const ScratchFolder folder;
  put_shards(folder);
  std::filesystem::remove(folder / "two.safetensors");
  EXPECT_EQ(refusal(folder.path()), "kNotFound: " + (folder / "model.safetensors.index.json") +
                                        ": names the shard two.safetensors, which does not exist. The download is probably incomplete.");
}

TEST(OpenModel, RefusesShardsOutsideTheDirectory) {
  for (const std::string name : {"../one.safetensors", "/etc/passwd", "..", "sub\\\\one.safetensors", ""}) {
    const ScratchFolder folder;
    const std::string index = folder.put("model.safetensors.index.json", "{\"weight_map\":{\"a\":\"" + name + "\"}}");
    EXPECT_EQ(refusal(folder.path()),
              "kFormat: " + index + ": \"weight_map.a\": expected a file name in the same directory, found \"" + name + "\"");
  }
}

TEST(OpenModel, RefusesAnIndexThatIsWrongAboutItsShards) {
  const ScratchFolder folder;
  put_shards(folder);
  const std::string index = folder.put("model.safetensors.index.json", R"({"weight_map":{"a":"two.safetensors","b":"one.safetensors"}})");
  EXPECT_EQ(refusal(folder.path()), "kFormat: " + index + ": lists tensor \"a\" in two.safetensors, but that file does not contain it");
  folder.put("model.safetensors.index.json", R"({"weight_map":{"a":"one.safetensors","x":"one.safetensors"}})");
  EXPECT_EQ(refusal(folder.path()), "kFormat: " + index + ": lists tensor \"x\" in one.safetensors, but that file does not contain it");
  folder.put("model.safetensors.index.json", R"({"weight_map":{"a":5}})");
  EXPECT_EQ(refusal(folder.path()), "kFormat: " + index + ": \"weight_map.a\": expected a file name, found 5");
  folder.put("model.safetensors.index.json", R"({"weight_map":[]})");
  EXPECT_EQ(refusal(folder.path()),
            "kFormat: " + index + ": \"weight_map\": expected an object that maps tensor names to file names, found an array of 0");
  folder.put("model.safetensors.index.json", "{}");
  EXPECT_EQ(refusal(folder.path()), "kFormat: " + index + ": field \"weight_map\" is missing");
}

TEST(OpenModel, RefusesATensorThatIsInTwoShards) {
  const ScratchFolder folder;
  put_shards(folder);
  write_safetensors(folder / "two.safetensors", {{"a", Tensor::zeros({1})}, {"b", Tensor::zeros({1})}});
  EXPECT_EQ(refusal(folder.path()),
            "kFormat: " + (folder / "two.safetensors") + ": tensor \"a\" is also in " + (folder / "one.safetensors"));
}

TEST(OpenModel, RefusesPicklesWithTheLineThatConvertsThem) {
  const ScratchFolder folder;
  folder.put("it's/pytorch_model.bin", "");
  EXPECT_EQ(refusal(folder / "it's"),
            "kUnsupported: " + (folder / "it's") +
                ": contains pytorch_model.bin, but pickles are not supported. Convert it once: python3 -c \"import glob, sys, torch; from "
                "safetensors.torch import save_file; d = sys.argv[1]; save_file({k: v.clone().contiguous() for f in "
                "glob.glob(glob.escape(d) + '/pytorch_model*.bin') for k, v in torch.load(f, map_location='cpu', "
                "weights_only=True).items()}, d + '/model.safetensors', {'format': 'pt'})\" '" +
                folder.path() + "/it'\\''s'");
}

TEST(OpenModel, SaysWhatIsMissing) {
  const ScratchFolder folder;
  EXPECT_EQ(refusal(folder.path()), "kNotFound: " + folder.path() +
                                        ": expected model.safetensors or model.safetensors.index.json in this directory, found neither");
  EXPECT_EQ(refusal(folder / "nowhere"), "kNotFound: " + (folder / "nowhere") + ": there is no such directory");
}

}  // namespace
}  // namespace clearhead::io
