// Tests the data summary that a run prints before training, and the errors for data that cannot be trained on.
#include "tasks/recipe/data_summary.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/file.h"
#include "clearhead/error.h"
#include "refused.h"
#include "tasks/recipe/task.h"
#include "text/tokenizer_json.h"
#include "train/run_folder.h"
#include "train/trainable_model.h"
#include "train/trainer.h"

namespace clearhead::tasks {
namespace {

using namespace std::string_literals;  // NOLINT(google-build-using-namespace): texts with NUL bytes

constexpr const char* kClassify = R"({
  "task": {"kind": "classification", "train": "train.tsv", "valid": "valid.tsv", "text": 1, "label": 2},
  "tokenizer": "bytes", "length": 8, "batch": 4, "steps": 2,
  "model": {"model_type": "bert", "vocab_size": 256, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 8, "max_position_embeddings": 16, "type_vocab_size": 2}
})";

constexpr const char* kPairs = R"({
  "pairs": {"train": "train.tsv", "valid": "valid.tsv"}, "tokenizer": "bytes", "length": 8, "steps": 2,
  "model": {"architectures": ["MarianMTModel"], "model_type": "marian", "vocab_size": 256, "d_model": 8, "max_position_embeddings": 16,
            "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 8, "decoder_layers": 1, "decoder_attention_heads": 2,
            "decoder_ffn_dim": 8, "activation_function": "relu", "is_encoder_decoder": true, "eos_token_id": 0, "pad_token_id": 1,
            "decoder_start_token_id": 1}
})";

using Lines = std::vector<std::string>;
using Classes = std::map<std::string, int64_t>;

class Data : public RunFolder {
 protected:
  Data() : RunFolder("data") {}
  void SetUp() override {
    RunFolder::SetUp();
    write_file(folder_ + "/recipe.json", kClassify);
    write_file(folder_ + "/valid.tsv", "good\tpos\n");
  }
  DataSummary training(const std::string& bytes, const std::vector<std::string>& settings = {}) const {
    write_file(folder_ + "/train.tsv", bytes);
    const Recipe read = fitted_to_task(recipe(settings));
    const auto tokenizer = Tokenizer::from_json(byte_tokenizer_json());
    return task_of(read, *tokenizer, train::task_facts(read))->summary().front();
  }
  std::string refusal(const std::string& bytes, const std::vector<std::string>& settings = {}) const {
    return error_of([&] { training(bytes, settings); });
  }
  std::string trained(const std::vector<std::string>& settings = {}) const {
    return error_of([&] { train::Trainer(recipe(settings), folder_ + "/run"); });
  }
};

TEST_F(Data, IsCountedByClassAndLength) {
  EXPECT_EQ(training("good\tpos\nbad\tneg\nvery very good\tpos\nno idea\t-\n", {R"(task.skip=["-"])"}).lines(),
            (Lines{"training: 3 texts of train.tsv; tokens: 3 to 8, median 4", "  classes: neg 1, pos 2",
                   "  lines left out because their label is in \"skip\": 1", "  texts truncated to 8 tokens (\"length\"): 1"}));
}

TEST_F(Data, HeaderLinesAreDetectedAndLeftOut) {
  const DataSummary found = training("Text\tlabel\ngood\tpos\nbad\tneg\n");
  EXPECT_EQ(found.classes, (Classes{{"neg", 1}, {"pos", 1}}));
  EXPECT_EQ(found.notes, (Lines{"line 1 names the columns and was left out: \"Text\\tlabel\""}));
  EXPECT_EQ(training("no\tsentiment\ngood\tpos\nbad\tneg\n").count, 2) << "the label occurs in no other line";
  write_file(folder_ + "/valid.tsv", "a\ttopic\n");
  EXPECT_EQ(training("no\ttopic\na\ttopic\nb\tother\n").classes, (Classes{{"other", 1}, {"topic", 2}})) << "the label occurs again";
}

TEST_F(Data, HasItsColumnsByNameWhereTheFirstLineNamesThem) {
  write_file(folder_ + "/valid.tsv", "id\tlabel\ttext\n1\tpos\tgood\n");
  const std::vector<std::string> by_name = {"task.text=text", "task.label=label"};
  EXPECT_EQ(training("id\tlabel\ttext\n1\tpos\tgood\n2\tneg\tbad\n", by_name).classes, (Classes{{"neg", 1}, {"pos", 1}}));
  EXPECT_EQ(
      refusal("id\tclass\ttext\n1\tpos\tgood\n", by_name),
      "kFormat: " + folder_ + "/train.tsv, line 1: no column \"label\" (\"task.label\"); the first line names \"id\", \"class\", \"text\"");
}

TEST_F(Data, AmbiguousOrEmptyLabelsAreRefusedOrReported) {
  EXPECT_EQ(refusal("a\tpos\nb\tneg\nc\tpos \n"), "kFormat: " + folder_ +
                                                      "/train.tsv, line 3: the label \"pos \" differs from \"pos\" of " + folder_ +
                                                      "/train.tsv, line 1 only in the spaces around it; write both the same way");
  EXPECT_EQ(refusal("a\tpos\nb\tneg\nc\t\n"),
            "kFormat: " + folder_ +
                "/train.tsv, line 3: the label is empty; expected the name of a class. \"skip\": [\"\"] in "
                "\"task\" leaves such lines out");
  EXPECT_EQ(training("a\tpos\nb\tneg\nc\t\n", {R"(task.skip=[""])"}).count, 2);
  EXPECT_EQ(training("a\tpos\nb\tneg\nc\tPOS\n").notes,
            (Lines{"the classes \"POS\", \"pos\" differ only by case; if they are one class, write them the same way"}));
}

TEST_F(Data, InAnotherEncodingIsRefusedByFileAndLine) {
  EXPECT_NE(refusal("good\tpos\nna\xEFve\tneg\n").find(folder_ + "/train.tsv, line 2: byte 0xEF is not UTF-8"), std::string::npos);
  EXPECT_NE(refusal("\xFF\xFEg\0\t\0p\0\n\0"s).find(folder_ + "/train.tsv, line 1: the text is in UTF-16"), std::string::npos);
  EXPECT_NE(refusal("g\0\t\0p\0\n\0"s).find(folder_ + "/train.tsv, line 1: a NUL byte"), std::string::npos);
  EXPECT_EQ(training("\xEF\xBB\xBFgood\tpos\nbad\tneg\n").lengths.at(0).longest, 4) << "a byte order mark is removed";
  EXPECT_EQ(training("\xEF\xBB\xBFtext\tlabel\ngood\tpos\nbad\tneg\n").count, 2);
}

TEST_F(Data, WithoutAnythingToValidateOnIsRefused) {
  write_file(folder_ + "/train.tsv", "good\tpos\nbad\tneg\n");
  write_file(folder_ + "/valid.tsv", "");
  EXPECT_EQ(trained(), "kInvalidArgument: " + folder_ +
                           "/recipe.json: there are no texts to validate on in valid.tsv; the best model is selected on the validation "
                           "data: give a file that has some");
  write_file(folder_ + "/valid.tsv", "meh\t-\n");
  EXPECT_NE(trained({R"(task.skip=["-"])"}).find("in valid.tsv; lines left out because their label is in \"skip\": 1; the best model"),
            std::string::npos);
}

TEST_F(Data, SummaryOfANetworkReportsTruncatedAndOmittedInputs) {
  const std::string stories = R"({
    "task": {"kind": "babi", "train": "train.tsv", "valid": "valid.tsv"}, "tokenizer": "bytes", "batch": 4, "length": 12, "steps": 2,
    "model": {"model_type": "memory_network", "vocab_size": 256, "hidden_size": 8, "hops": 1, "memory_size": 2,
              "max_position_embeddings": 12})";
  write_file(folder_ + "/recipe.json", stories + "}");
  write_file(folder_ + "/valid.tsv", "1 Ann sleeps.\n2 Who?\tAnn\n");
  EXPECT_EQ(training("1 Ann sleeps.\n2 Ben is out now.\n3 Al left.\n4 Who?\tAnn\n5 Who is awake?\tBen\n").notes,
            (Lines{"statements and questions truncated to 12 tokens (\"max_position_embeddings\"): 3",
                   "oldest statements left out because a story has more than 2 (\"memory_size\"): 2"}));
  write_file(folder_ + "/recipe.json", R"({
    "task": {"kind": "summarisation", "train": "train.jsonl", "valid": "valid.jsonl", "text": "text", "label": "short"},
    "tokenizer": "bytes", "batch": 4, "length": 12, "steps": 2,
    "model": {"model_type": "hierarchical_attention", "output": "sentence", "vocab_size": 256, "embedding_size": 8, "hidden_size": 8,
              "max_position_embeddings": 12}
  })");
  const std::string document = R"({"text": ["Short.", "This one is longer.", "So is this one."], "short": ["This one."]})";
  for (const char* name : {"/train.jsonl", "/valid.jsonl"}) write_file(folder_ + name, document + "\n");
  EXPECT_EQ(training("").notes, (Lines{"sentences truncated to 12 tokens (\"max_position_embeddings\"): 2"}));
}

TEST_F(Data, SummaryOfPairsReportsOmittedAndTruncatedPairs) {
  write_file(folder_ + "/recipe.json", kPairs);
  const std::string pairs = "source\ttarget\none\tun\nfour\tquatre\nsomewhat longer\tcourt\nshort\tbeaucoup plus\n\tvide\n";
  EXPECT_EQ(
      training(pairs).lines(),
      (Lines{"training: 2 pairs of train.tsv; source tokens: 3 to 4, median 4; target tokens: 2 to 6, median 6",
             "  line 1 names the columns and was left out: \"source\\ttarget\"",
             "  pairs left out because a side has more than 8 tokens (\"length\"): 2", "  pairs left out because a side has no token: 1"}));
  EXPECT_EQ(training(pairs, {"pairs.cut=true"}).notes.back(), "sources truncated to 8 tokens (\"length\"): 1");
  EXPECT_EQ(training("English\tFrench\none\tun\n").count, 1);
  write_file(folder_ + "/train.tsv", "one\tun\n");
  write_file(folder_ + "/valid.tsv", "somewhat longer\tcourt\n");
  EXPECT_NE(trained().find(
                "there are no pairs to validate on in valid.tsv; pairs left out because a side has more than 8 tokens (\"length\"): 1"),
            std::string::npos);
}

}  // namespace
}  // namespace clearhead::tasks
