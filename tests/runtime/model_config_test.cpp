// SPDX-License-Identifier: Apache-2.0
#include "runtime/model_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "runtime/strict_json.h"
#include "tests/runtime/checkpoint_fixture.h"

namespace unmask::runtime {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;
using testing::refusal;
using testing::source_path;

json small() {
  return json::parse(testing::read_file(source_path("tests/data/uneven/config.json")));
}

ModelConfig parse(const json& config) { return parse_model_config(config.dump(), "config.json"); }

/// `small()` with one key changed.
json with(const std::string& key, json value) {
  json config = small();
  config[key] = std::move(value);
  return config;
}

TEST(ModelConfig, ReadsThePublishedModel) {
  const std::string text = testing::read_file(source_path("tests/data/configs/llada-moe-7b-a1b.json"));
  const ModelConfig c = parse_model_config(text, "config.json");
  EXPECT_EQ(c.architecture, "LLaDAMoEModel");
  EXPECT_EQ(c.num_parameters(), 7'356'880'896);
  EXPECT_EQ(c.num_layers, 16);
  EXPECT_EQ(c.hidden, 2048);
  EXPECT_EQ(c.num_heads, 16);
  EXPECT_EQ(c.num_kv_heads, 16);
  EXPECT_EQ(c.head_dim, 128);
  EXPECT_EQ(c.num_experts, 64);
  EXPECT_EQ(c.experts_per_token, 8);
  EXPECT_EQ(c.expert_width, 1024);
  EXPECT_EQ(c.vocab_size, 157184);
  EXPECT_EQ(c.max_positions, 8192);
  EXPECT_FLOAT_EQ(c.rms_norm_eps, 1e-5F);
  EXPECT_EQ(c.rope_theta, 50000);
  EXPECT_TRUE(c.qk_norm);
  EXPECT_FALSE(c.renormalise_top_k);
  EXPECT_FALSE(c.mask_token.has_value());
  EXPECT_THAT(c.eos_tokens, ElementsAre(156892));
  EXPECT_THAT(c.unknown_keys, IsEmpty());
}

TEST(ModelConfig, ReadsGroupedQueriesAndOptionalKeys) {
  const ModelConfig uneven = read_model_config(source_path("tests/data/uneven"));
  EXPECT_EQ(uneven.num_heads, 6);
  EXPECT_EQ(uneven.num_kv_heads, 2);
  EXPECT_EQ(uneven.head_dim, 16);
  EXPECT_TRUE(uneven.renormalise_top_k);
  EXPECT_EQ(uneven.mask_token, 319);
  EXPECT_FALSE(read_model_config(source_path("tests/data/plain")).qk_norm);

  json config = small();
  for (const char* key : {"num_key_value_heads", "mask_token_id", "eos_token_id", "rope_theta", "rms_norm_eps", "norm_topk_prob",
                          "moe_layer_freq", "max_position_embeddings", "qk_layernorm", "hidden_act"}) {
    config.erase(key);
  }
  const ModelConfig c = parse(config);  // as the reference has them
  EXPECT_EQ(c.num_kv_heads, 6);
  EXPECT_EQ(c.max_positions, 8192);
  EXPECT_EQ(c.rope_theta, 50000);
  EXPECT_TRUE(c.qk_norm);
  EXPECT_THAT(c.eos_tokens, IsEmpty());
  EXPECT_THAT(parse(with("eos_token_id", {3, 5})).eos_tokens, ElementsAre(3, 5));
  EXPECT_THAT(parse(with("eos_token_id", nullptr)).eos_tokens, IsEmpty());
  EXPECT_EQ(parse(with("head_dim", 32)).head_dim, 32);
  EXPECT_EQ(parse(with("hidden_size", 96.0)).hidden, 96);
}

TEST(ModelConfig, DispatchesOnTheArchitecture) {
  EXPECT_EQ(parse(with("architectures", {"LLaDAMoEModel"})).architecture, "LLaDAMoEModel");
  EXPECT_EQ(parse(with("architectures", {"LLaDAMoEModelLM"})).architecture, "LLaDAMoEModelLM");
  EXPECT_THAT(refusal([] { parse(with("architectures", {"LLaDA2MoeModelLM"})); }),
              AllOf(HasSubstr("config.json"), HasSubstr("\"LLaDA2MoeModelLM\""), HasSubstr("LLaDAMoEModel and LLaDAMoEModelLM")));
  EXPECT_THAT(refusal([] { parse(with("architectures", nullptr)); }), HasSubstr("architectures is missing"));
  EXPECT_THAT(refusal([] { parse(with("architectures", "LLaDAMoEModel")); }), HasSubstr("architectures is \"LLaDAMoEModel\""));
  EXPECT_THAT(refusal([] { parse(with("architectures", json::array())); }), HasSubstr("an array of 0"));
  EXPECT_THAT(refusal([] { parse(with("architectures", {"LLaDAMoEModel", "Other"})); }), HasSubstr("an array of 2"));
}

struct Case {
  const char* key;
  json value;
};

TEST(ModelConfig, RefusesByNameWhatWouldChangeTheForwardPass) {
  const std::vector<Case> cases = {
      {"attention_bias", true}, {"attention_bias", 1}, {"clip_qkv", 8.0}, {"clip_qkv", 0}, {"hidden_act", "gelu"},
      {"hidden_act", true}, {"moe_router_enable_expert_bias", true}, {"moe_router_score_function", "sigmoid"},
      {"partial_rotary_factor", 0.5}, {"rope_scaling", {{"type", "yarn"}, {"factor", 4}}},
      {"rope_scaling", {{"rope_type", "default"}, {"factor", 4}}}, {"routed_scaling_factor", 2.5}, {"router_num_group", 8},
      {"router_topk_group", 4}, {"shared_expert_intermediate_size", 512}, {"tie_word_embeddings", true},
      {"mlp_bias", true}, {"use_qkv_bias", true}, {"n_shared_experts", 1}, {"num_shared_experts", 2},
      {"first_k_dense_replace", 1}, {"mlp_only_layers", {0}}, {"decoder_sparse_step", 2}, {"n_group", 8}, {"topk_group", 4},
      {"scoring_func", "sigmoid"}, {"topk_method", "noaux_tc"}, {"expert_capacity", 48}, {"num_nextn_predict_layers", 1},
      {"use_sliding_window", true}, {"sliding_window", 4096}, {"layer_types", {"full_attention", "sliding_attention"}},
      {"attn_logit_softcapping", 50.0}, {"final_logit_softcapping", 30.0}, {"q_lora_rank", 1536}, {"is_causal", true},
      {"is_decoder", true}, {"attention_output_gate", true}, {"embedding_multiplier", 12}, {"logit_scale", 0.0625},
      {"residual_multiplier", 0.22}, {"quantization_config", {{"quant_method", "fp8"}}}, {"vision_config", json::object()},
      {"rope_interleave", true}, {"shift_logits", true}, {"use_rope", false}, {"norm_type", "layernorm"}};
  for (const auto& [key, value] : cases) {
    EXPECT_THAT(refusal([&] { parse(with(key, value)); }), AllOf(HasSubstr(format("config.json: {} is ", key)), HasSubstr("only")))
        << value;
  }
  const std::vector<Case> layers = {{"moe_layer_freq", {1, 0, 1}}, {"moe_layer_freq", {1, 1, 2}}, {"moe_layer_freq", {1, 1, true}}};
  for (const auto& [key, value] : layers) {
    EXPECT_THAT(refusal([&] { parse(with(key, value)); }), HasSubstr("moe_layer_freq[")) << value;
  }
  EXPECT_THAT(refusal([] { parse(with("moe_layer_freq", {1, 1})); }), HasSubstr("an array of 2: expected a list of 3"));
  EXPECT_THAT(refusal([] { parse(with("moe_layer_freq", 0)); }), HasSubstr("moe_layer_freq is 0"));
}

TEST(ModelConfig, AcceptsNeutralValuesAndIgnoresTheRest) {
  const std::vector<Case> cases = {
      {"attention_bias", nullptr}, {"shared_expert_intermediate_size", nullptr}, {"router_num_group", 0},
      {"router_topk_group", 1}, {"rope_scaling", {{"rope_type", "default"}}}, {"hidden_act", "swish"},
      {"moe_layer_freq", 1}, {"layer_types", {"full_attention"}}, {"mlp_only_layers", json::array()},
      {"partial_rotary_factor", 1.0}, {"moe_intermediate_size", 80}, {"num_local_experts", 11}, {"rotary_dim", 16},
      {"torch_dtype", "float32"}, {"attention_dropout", 0.5}, {"auto_map", {{"AutoModel", "x.Y"}}}, {"use_cache", true},
      {"rope_parameters", {{"rope_type", "default"}, {"partial_rotary_factor", 1.0}}}};
  for (const auto& [key, value] : cases) {
    EXPECT_THAT(parse(with(key, value)).unknown_keys, IsEmpty()) << key;
  }
  json window = with("sliding_window", 4096);  // Qwen2 leaves the width there while the window is off
  window["use_sliding_window"] = false;
  EXPECT_THAT(parse(window).unknown_keys, IsEmpty());
  json unknown = with("brand_new", 1);
  unknown["another\n"] = 2;
  EXPECT_THAT(parse(unknown).unknown_keys, UnorderedElementsAre("brand_new", "another?"));
}

TEST(ModelConfig, ReadsRopeThetaFromEitherPlace) {
  json config = small();
  config.erase("rope_theta");
  config["rope_parameters"] = {{"rope_theta", 777.0}, {"rope_type", "default"}};
  EXPECT_EQ(parse(config).rope_theta, 777);
  config["rope_theta"] = 776.0;
  EXPECT_THAT(refusal([&] { parse(config); }), AllOf(HasSubstr("776"), HasSubstr("777")));
  config.erase("rope_theta");
  config["rope_parameters"]["factor"] = 2;
  EXPECT_THAT(refusal([&] { parse(config); }), HasSubstr("rope_parameters.factor is 2"));
  EXPECT_THAT(refusal([] { parse(with("rope_parameters", 3)); }), HasSubstr("rope_parameters is 3: expected an object"));
}

TEST(ModelConfig, RefusesNumbersThatCannotBe) {
  const std::vector<Case> cases = {
      {"hidden_size", 0}, {"hidden_size", -96}, {"hidden_size", 96.5}, {"hidden_size", "96"}, {"hidden_size", true},
      {"hidden_size", 1e300}, {"hidden_size", std::uint64_t{1} << 63}, {"num_hidden_layers", 1'000'000},
      {"num_experts", 0}, {"num_experts_per_tok", 0}, {"num_experts_per_tok", 12}, {"num_key_value_heads", 12},
      {"vocab_size", 4294967297.0}, {"vocab_size", 1}, {"max_position_embeddings", 0}, {"head_dim", 0}, {"head_dim", {16}},
      {"rms_norm_eps", -1e-5}, {"rms_norm_eps", "1e-5"}, {"rope_theta", 0}, {"rope_theta", -1},
      {"mask_token_id", 320}, {"mask_token_id", -1}, {"eos_token_id", 320}, {"eos_token_id", {3, -1}}, {"qk_layernorm", 1},
      {"norm_topk_prob", "yes"}};
  for (const auto& [key, value] : cases) {
    EXPECT_THAT(refusal([&] { parse(with(key, value)); }), AllOf(HasSubstr(format("config.json: {} is ", key)), HasSubstr("expected")))
        << value;
  }
  for (const char* key : {"hidden_size", "num_hidden_layers", "num_attention_heads", "num_experts", "num_experts_per_tok",
                          "expert_intermediate_size", "vocab_size"}) {
    json config = small();
    config.erase(key);
    EXPECT_THAT(refusal([&] { parse(config); }), HasSubstr(format("config.json: {} is missing", key)));
  }
}

TEST(ModelConfig, RefusesShapesThatDoNotFitTogether) {
  EXPECT_THAT(refusal([] { parse(with("hidden_size", 100)); }),
              AllOf(HasSubstr("hidden_size is 100"), HasSubstr("multiple of num_attention_heads, which is 6")));
  EXPECT_EQ(parse([] { json c = with("hidden_size", 100); c["head_dim"] = 16; return c; }()).hidden, 100);
  EXPECT_THAT(refusal([] { parse(with("num_key_value_heads", 4)); }),
              AllOf(HasSubstr("num_attention_heads is 6"), HasSubstr("num_key_value_heads, which is 4")));
  EXPECT_THAT(refusal([] { parse(with("head_dim", 15)); }), HasSubstr("head_dim is 15: expected an even number"));
  EXPECT_THAT(refusal([] { parse(with("moe_intermediate_size", 81)); }),
              HasSubstr("moe_intermediate_size is 81: expected 80, as expert_intermediate_size says"));

  json huge = small();
  huge["num_hidden_layers"] = 4096;
  huge["num_experts"] = 65536;
  huge["moe_layer_freq"] = nullptr;
  EXPECT_THAT(refusal([&] { parse(huge); }), HasSubstr("num_hidden_layers * num_experts is 268435456"));
  huge["num_experts"] = 1024;
  huge["hidden_size"] = 1 << 20;
  huge["num_attention_heads"] = 1 << 13;
  huge["num_key_value_heads"] = nullptr;
  huge["expert_intermediate_size"] = 1 << 20;
  EXPECT_THAT(refusal([&] { parse(huge); }), HasSubstr("parameters"));
}

TEST(StrictJson, RefusesWhatIsNotOneCleanValue) {
  const auto parse_text = [](std::string_view text) {
    return [text] { static_cast<void>(parse_json_strictly(text, "F", 1000)); };
  };
  EXPECT_THAT(refusal(parse_text("{\"a\":1,\"b\":{\"c\":1,\"c\":2}}")), AllOf(HasSubstr("F: the key \"c\" is given twice"), HasSubstr("byte 21")));
  EXPECT_THAT(refusal(parse_text("{\"a\":1")), HasSubstr("F: not valid JSON at byte 7"));
  EXPECT_THAT(refusal(parse_text("{\"a\":1} x")), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal(parse_text(std::string_view("{\"a\":1}\0{", 9))), HasSubstr("byte 7: a NUL byte"));
  EXPECT_THAT(refusal(parse_text("\"\xff\"")), HasSubstr("not valid JSON at byte 2"));
  EXPECT_THAT(refusal(parse_text("\"\xed\xa0\x80\"")), HasSubstr("not valid JSON"));  // a surrogate in UTF-8
  EXPECT_THAT(refusal(parse_text("\"\\ud800\"")), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal(parse_text("1e999")), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal(parse_text("NaN")), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal(parse_text("")), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal(parse_text("[1,]")), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal(parse_text(std::string(1001, ' '))), HasSubstr("1001 bytes of JSON, at most 1000"));
  EXPECT_THAT(refusal(parse_text(std::string(65, '[') + std::string(65, ']'))), HasSubstr("nested deeper than 64 (byte 65)"));
  EXPECT_EQ(parse_json_strictly(std::string(64, '[') + std::string(64, ']'), "F", 1000).size(), 1U);
  const json same = parse_json_strictly(" {\"a\":[1,-2,2.5,\"\xc3\xa9\",null,true,{}],\"b\":[]} \n", "F", 1000);
  EXPECT_EQ(same, json::parse("{\"a\":[1,-2,2.5,\"\\u00e9\",null,true,{}],\"b\":[]}"));
}

TEST(StrictJson, RefusesManySmallValues) {
  std::string text = "[";
  for (int i = 0; i < 10'000'001; ++i) {
    text += "1,";
  }
  text.back() = ']';
  EXPECT_THAT(refusal([&] { static_cast<void>(parse_json_strictly(text, "F", text.size())); }), HasSubstr("more than 10000000 values"));
}

TEST(StrictJson, TellsOfANumberOutOfRange) {
  EXPECT_THAT(refusal([] { static_cast<void>(parse_json_strictly("[1e999]", "F", 100)); }),
              HasSubstr("F: not valid JSON at byte 6: number overflow parsing '1e999'"));
}

}  // namespace
}  // namespace unmask::runtime
