"""Tiny models with random weights, one per family."""

import torch
import transformers as tf

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
COMMON = {"vocab_size": 60, "max_position_embeddings": 64, "num_labels": 3, "pad_token_id": 0}
GROUPED = SMALL | COMMON | {"num_key_value_heads": 2, "head_dim": 8, "bos_token_id": 1, "eos_token_id": 2}
MODERN = {
    "local_attention": 6,
    "global_attn_every_n_layers": 2,
    "cls_token_id": 1,
    "sep_token_id": 2,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
T5 = {
    "vocab_size": 60,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "num_heads": 4,
    "decoder_start_token_id": 0,
}
BART = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
} | COMMON

LOCAL_THEN_FULL = ["sliding_attention", "full_attention"]
PICTURE = {"image_size": 12, "patch_size": 4}
GPTJ = {"n_embd": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 4, "n_positions": 64}

FAMILIES = {
    "bert": (tf.BertForSequenceClassification, tf.BertConfig, SMALL | COMMON),
    "roberta": (tf.RobertaForSequenceClassification, tf.RobertaConfig, SMALL | COMMON),
    "distilbert": (
        tf.DistilBertForSequenceClassification,
        tf.DistilBertConfig,
        {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48} | COMMON,
    ),
    "modernbert": (tf.ModernBertForSequenceClassification, tf.ModernBertConfig, SMALL | COMMON | MODERN),
    "electra": (tf.ElectraForSequenceClassification, tf.ElectraConfig, SMALL | COMMON | {"embedding_size": 16}),
    "albert": (tf.AlbertForSequenceClassification, tf.AlbertConfig, SMALL | COMMON | {"embedding_size": 16}),
    "gpt2": (tf.GPT2LMHeadModel, tf.GPT2Config, {"n_embd": 32, "n_layer": 2, "n_head": 4} | COMMON),
    "llama": (tf.LlamaForCausalLM, tf.LlamaConfig, GROUPED),
    "qwen2": (tf.Qwen2ForCausalLM, tf.Qwen2Config, GROUPED),
    "mistral": (tf.MistralForCausalLM, tf.MistralConfig, GROUPED | {"sliding_window": 4}),
    "gemma2": (
        tf.Gemma2ForCausalLM,
        tf.Gemma2Config,
        # A softcap so low that leaving it out would show.
        GROUPED | {"attn_logit_softcapping": 0.1, "sliding_window": 4, "query_pre_attn_scalar": 8},
    ),
    "t5": (tf.T5ForConditionalGeneration, tf.T5Config, T5 | {"pad_token_id": 0}),
    "bart": (tf.BartForSequenceClassification, tf.BartConfig, BART),
    "qwen3": (tf.Qwen3ForCausalLM, tf.Qwen3Config, GROUPED),
    "gemma3": (
        tf.Gemma3ForCausalLM,
        tf.Gemma3TextConfig,
        GROUPED | {"sliding_window": 4, "query_pre_attn_scalar": 8, "layer_types": LOCAL_THEN_FULL},
    ),
    "phi3": (
        tf.Phi3ForCausalLM,
        tf.Phi3Config,
        SMALL | COMMON | {"num_key_value_heads": 2, "bos_token_id": 1, "eos_token_id": 2},
    ),
    "gpt_neox": (tf.GPTNeoXForCausalLM, tf.GPTNeoXConfig, SMALL | COMMON),
    "opt": (
        tf.OPTForCausalLM,
        tf.OPTConfig,
        COMMON
        | {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "ffn_dim": 48,
            "word_embed_proj_dim": 32,
        },
    ),
    "gpt_oss": (
        tf.GptOssForCausalLM,
        tf.GptOssConfig,
        GROUPED
        | {
            "sliding_window": 4,
            "layer_types": LOCAL_THEN_FULL,
            "num_local_experts": 2,
            "num_experts_per_tok": 1,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        },
    ),
    "marian": (
        tf.MarianMTModel,
        tf.MarianConfig,
        BART | {"decoder_start_token_id": 0, "eos_token_id": 2, "forced_eos_token_id": 2},
    ),
}
CAPTURED = list(FAMILIES)

# Pictures and sounds: not what the studio trains, but captured as well.
MEDIA = {
    "whisper": (
        tf.WhisperForConditionalGeneration,
        tf.WhisperConfig,
        {
            "d_model": 32,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 48,
            "decoder_ffn_dim": 48,
            "vocab_size": 60,
            "max_source_positions": 12,
            "max_target_positions": 20,
            "num_mel_bins": 8,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "decoder_start_token_id": 1,
        },
    ),
    "wav2vec2": (
        tf.Wav2Vec2ForCTC,
        tf.Wav2Vec2Config,
        SMALL
        | {
            "vocab_size": 20,
            "conv_dim": (8, 8),
            "conv_stride": (5, 2),
            "conv_kernel": (10, 3),
            "num_feat_extract_layers": 2,
            "num_conv_pos_embeddings": 8,
            "num_conv_pos_embedding_groups": 2,
        },
    ),
    "vit": (tf.ViTForImageClassification, tf.ViTConfig, SMALL | PICTURE),
    "dinov2": (tf.Dinov2ForImageClassification, tf.Dinov2Config, SMALL | PICTURE),
    "swin": (
        tf.SwinForImageClassification,
        tf.SwinConfig,
        {"image_size": 16, "patch_size": 2, "embed_dim": 8, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4},
    ),
    "clip": (
        tf.CLIPModel,
        tf.CLIPConfig,
        {
            "text_config": SMALL
            | {
                "vocab_size": 60,
                "max_position_embeddings": 64,
                "pad_token_id": 0,
                "bos_token_id": 1,
                "eos_token_id": 2,
            },
            "vision_config": SMALL | PICTURE,
            "projection_dim": 16,
        },
    ),
}
# Families whose files do not use the interface: watched instead.
WATCHED = {
    "falcon": (tf.FalconForCausalLM, tf.FalconConfig, SMALL | COMMON),
    "deberta_v2": (
        tf.DebertaV2ForSequenceClassification,
        tf.DebertaV2Config,
        SMALL | COMMON | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    ),
    "deberta": (
        tf.DebertaForSequenceClassification,
        tf.DebertaConfig,
        SMALL | COMMON | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    ),
    "mpnet": (tf.MPNetForSequenceClassification, tf.MPNetConfig, SMALL | COMMON),
    "xlnet": (
        tf.XLNetForSequenceClassification,
        tf.XLNetConfig,
        {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 48, "vocab_size": 60, "num_labels": 3, "pad_token_id": 0},
    ),
    "bloom": (tf.BloomForCausalLM, tf.BloomConfig, {"hidden_size": 32, "n_layer": 2, "n_head": 4} | COMMON),
    "gptj": (tf.GPTJForCausalLM, tf.GPTJConfig, GPTJ | COMMON | {"bos_token_id": 1, "eos_token_id": 2}),
    "codegen": (tf.CodeGenForCausalLM, tf.CodeGenConfig, GPTJ | COMMON | {"bos_token_id": 1, "eos_token_id": 2}),
    "gpt_neo": (
        tf.GPTNeoForCausalLM,
        tf.GPTNeoConfig,
        COMMON
        | {
            "hidden_size": 32,
            "num_layers": 2,
            "num_heads": 4,
            "attention_types": [[["global", "local"], 1]],
            "window_size": 4,
        },
    ),
}
REFUSED = {
    "fnet": (
        tf.FNetForSequenceClassification,
        tf.FNetConfig,
        {key: value for key, value in SMALL.items() if key != "num_attention_heads"} | COMMON,
    ),
    "funnel": (
        tf.FunnelForSequenceClassification,
        tf.FunnelConfig,
        {"d_model": 32, "n_head": 4, "d_head": 8, "d_inner": 48, "block_sizes": [1, 1], "vocab_size": 60},
    ),
    "mamba": (
        tf.MambaForCausalLM,
        tf.MambaConfig,
        {"vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 2, "pad_token_id": 0},
    ),
}


def make_model(family, kind=None, **changes):
    """Return a two-layer model with weights large enough that its heads are far from uniform; kind: another class."""
    usual, config, options = (FAMILIES | MEDIA | WATCHED | REFUSED)[family]
    torch.manual_seed(7)
    model = (kind or usual)(config(**options | changes))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim - ("rel_attn" in name) == 2 and "embed" not in name:
                # T5 does not scale its scores: more would only make rounding errors large.
                parameter.mul_(2 if family == "t5" else 8)
            elif name.endswith("sinks"):
                parameter.normal_()
    return model.eval()


def make_input(family, padding, ids=None):
    """Return one row of eleven tokens or `ids`, the last `padding` (or, if negative, the first) of them padding.

    A decoder of its own gets six tokens, or of `ids` the first fifty.
    """
    decoded = torch.tensor([[0, 9, 33, 4, 21, 6]]) if ids is None else ids[:, :50]
    ids = torch.tensor([[1, 17, 23, 5, 42, 17, 31, 8, 55, 12, 2]]) if ids is None else ids.clone()
    mask = torch.ones_like(ids)
    if padding:
        place = slice(-padding, None) if padding > 0 else slice(None, -padding)
        ids[:, place], mask[:, place] = 0, 0
        # BART classifies by the last end token of a row.
        ids[0, int(mask[0].nonzero().max())] = 2
    inputs = {"input_ids": ids, "attention_mask": mask}
    if family in ("t5", "marian"):
        inputs["decoder_input_ids"] = decoded
    return inputs


def make_media(family):
    """Return one random picture or sound, with the text that goes with it."""
    generator = torch.Generator().manual_seed(3)
    if family == "whisper":
        features = torch.randn(1, 8, 24, generator=generator)
        return {"input_features": features, "decoder_input_ids": torch.tensor([[1, 9, 33, 4, 21, 6]])}
    if family == "wav2vec2":
        return {"input_values": torch.randn(1, 200, generator=generator)}
    side = 16 if family == "swin" else 12
    inputs = {"pixel_values": torch.randn(1, 3, side, side, generator=generator)}
    return inputs | (make_input(family, 3) if family == "clip" else {})
