// Graphs in tables: both forms of features, directed and undirected edges, names of columns, and the errors for broken tables.
#include "tasks/data/graph_tables.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "refused.h"

namespace clearhead::tasks {
namespace {

class GraphFolder : public testing::Test {
 protected:
  void SetUp() override {
    source.folder = testing::TempDir() + "clearhead-graph-tables-" + testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::create_directories(source.folder);
    tables = {.edges = {.file = "edges.tsv"}, .features = {.file = "features.tsv"}, .nodes = {.file = "nodes.tsv"}};
    write("edges.tsv", "a\tb\nb\tc\n");
    write("features.tsv", "a\t2 0\nb\t1:0.5 0:0\nc\t\n");
    write("nodes.tsv", "a\tred\ttrain\nb\tblue\tvalid\nc\t-\tnone\n");
  }
  void TearDown() override { std::filesystem::remove_all(source.folder); }
  void write(const std::string& name, const std::string& text) const { write_file(source.folder + "/" + name, text); }
  SplitGraph read() const { return read_graph_tables(tables, source, "small.json"); }
  void expect_wrong(const std::string& name, const std::string& text, const std::string& says) {
    const std::string before = read_file(source.folder + "/" + name);
    write(name, text);
    expect_refused(ErrorCode::kFormat, source.folder + "/" + name + says, [&] { (void)read(); });
    write(name, before);
  }
  static std::vector<int32_t> neighbours(const NodeGraph& graph, size_t node) {
    const int32_t *starts = graph.neighbours.offsets.data<int32_t>(), *keys = graph.neighbours.keys.data<int32_t>();
    return {keys + starts[node], keys + starts[node + 1]};
  }
  TextSource source{};
  GraphTables tables{};
};

using Ids = std::vector<int32_t>;

TEST_F(GraphFolder, EdgesAndFeaturesOfNodesAreReadByName) {
  const SplitGraph found = read();
  EXPECT_EQ(found.graph.names, (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(found.graph.classes, (std::vector<std::string>{"red", "blue", ""}));
  EXPECT_EQ(found.splits, (std::vector<std::string>{"train", "valid", "none"}));
  EXPECT_EQ(found.where[1], source.folder + "/nodes.tsv, line 2");
  EXPECT_EQ(neighbours(found.graph, 0), (Ids{0, 1}));
  EXPECT_EQ(neighbours(found.graph, 1), (Ids{0, 1, 2}));
  EXPECT_EQ(found.graph.features, 3);
  EXPECT_EQ(found.graph.offsets, (std::vector<int64_t>{0, 2, 3, 3}));
  EXPECT_EQ(found.graph.indices, (Ids{0, 2, 1}));
  EXPECT_EQ(found.graph.values, (std::vector<float>{1, 1, 0.5F}));
}

TEST_F(GraphFolder, TheTargetOfADirectedEdgeAttendsToItsSource) {
  tables.edges.directed = true;
  const SplitGraph found = read();
  EXPECT_EQ(neighbours(found.graph, 0), (Ids{0}));
  EXPECT_EQ(neighbours(found.graph, 1), (Ids{0, 1}));
  tables.edges.directed = false;
  EXPECT_NE(found.graph.digest, read().graph.digest);
}

TEST_F(GraphFolder, ColumnsOfNumbersAndNamesOfColumns) {
  tables.nodes = {.file = "people.csv", .node = "person", .label = "team", .split = "part", .no_class = "?"};
  tables.edges = {.file = "friends.csv", .source = "one", .target = "other"};
  tables.features = {.file = "measures.csv", .form = FeatureTable::Form::kColumns, .node = "person"};
  write("people.csv", "team,person,part\nred,Ann,train\n?,Ben,-\n");
  write("friends.csv", "other,one\nAnn,Ben\n");
  write("measures.csv", "age,person,height\n0.5,Ben,0\n-1,Ann,2e1\n");
  const SplitGraph found = read();
  EXPECT_EQ(found.graph.names, (std::vector<std::string>{"Ann", "Ben"}));
  EXPECT_EQ(found.graph.classes, (std::vector<std::string>{"red", ""}));
  EXPECT_EQ(found.graph.features, 2);
  EXPECT_EQ(found.graph.indices, (Ids{0, 1, 0}));
  EXPECT_EQ(found.graph.values, (std::vector<float>{-1, 20, 0.5F}));
  expect_wrong("measures.csv", "age,person,height\n0.5,Ben,tall\n", ", line 2, column 3: expected a finite number, found \"tall\"");
  expect_wrong("measures.csv", "age,person,height\n0.5,Ben,inf\n", ", line 2, column 3: expected a finite number, found \"inf\"");
  expect_wrong("measures.csv", "age,person,height\n0.5,Ben,1\n1,Ann\n", ", line 3: found 1 features; expected 2, as in the first row");
}

TEST_F(GraphFolder, BrokenNodesAreRefusedWithLineAndColumn) {
  expect_wrong("nodes.tsv", "a\tred\ttrain\na\tred\tvalid\n",
               ", line 2, column 1: node \"a\" is already in " + source.folder + "/nodes.tsv, line 1; leave one out");
  expect_wrong("nodes.tsv", "a\t-\ttrain\n",
               ", line 1, column 2: node \"a\" is in the split \"train\" but has no class; give it a class, or leave its split empty");
  expect_wrong("nodes.tsv", "\tred\ttrain\n", ", line 1, column 1: the name of the node is empty");
  expect_wrong("nodes.tsv", "a\tred\n", ", line 1: expected 3 columns separated by tabs, found 2");
  expect_wrong("nodes.tsv", "", ": the table has no nodes");
}

TEST_F(GraphFolder, BrokenEdgesAreRefusedWithLineAndColumn) {
  expect_wrong("edges.tsv", "a\tb\nb\td\n", ", line 2, column 2: \"d\" is not in the table of nodes");
  expect_wrong("edges.tsv", "b\tb\n", ", line 1, column 2: an edge from node \"b\" to itself");
  expect_wrong("edges.tsv", "a\tb\nb\ta\n",
               ", line 2, column 1: the edge between \"b\" and \"a\" is already in " + source.folder + "/edges.tsv, line 1; leave one out");
}

TEST_F(GraphFolder, BrokenFeaturesAreRefusedWithLineAndColumn) {
  expect_wrong("features.tsv", "d\t1\n", ", line 1, column 1: \"d\" is not in the table of nodes");
  expect_wrong("features.tsv", "a\t1 x\n", ", line 1, column 2: expected the index of a feature, as in \"17\" or \"17:0.5\", found \"x\"");
  expect_wrong("features.tsv", "a\t1:nan\n", ", line 1, column 2: expected a finite number as the value of the feature, found \"nan\"");
  expect_wrong("features.tsv", "a\t1 2 1\n", ", line 1, column 2: feature 1 is repeated");
  expect_wrong("features.tsv", "a\t1\nb\t\na\t2\n",
               ", line 3, column 1: the features of node \"a\" are already in " + source.folder + "/features.tsv, line 1; leave one out");
  expect_wrong("features.tsv", "a\t1\nb\t\n",
               ": there is no row for node \"c\" (" + source.folder + "/nodes.tsv, line 3); expected one row for each node");
  expect_wrong("features.tsv", "a\t\nb\t\nc\t\n", ": the nodes have no features");
  tables.features.count = 2;
  expect_wrong("features.tsv", "a\t0 2\n", ", line 1, column 2: feature 2 is out of range; the features are 0 to 1");
}

}  // namespace
}  // namespace clearhead::tasks
