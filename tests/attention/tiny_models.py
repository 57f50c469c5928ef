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
    "falcon": (tf.FalconForCausalLM, tf.FalconConfig, SMALL | COMMON),
    "deberta_v2": (tf.DebertaV2ForSequenceClassification, tf.DebertaV2Config, SMALL | COMMON),
    "mpnet": (tf.MPNetForSequenceClassification, tf.MPNetConfig, SMALL | COMMON),
}
REFUSED = ["falcon", "deberta_v2", "mpnet"]
CAPTURED = [family for family in FAMILIES if family not in REFUSED]


def make_model(family, **changes):
    """Return a two-layer model with weights large enough that its heads are far from uniform."""
    kind, config, options = FAMILIES[family]
    torch.manual_seed(7)
    model = kind(config(**options | changes))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2 and "embed" not in name:
                # T5 does not scale its scores: more would only make rounding errors large.
                parameter.mul_(2 if family == "t5" else 8)
    return model.eval()


def make_input(family, padding):
    """Return one row of eleven tokens, the last `padding` (or, if negative, the first) of them padding."""
    ids = torch.tensor([[1, 17, 23, 5, 42, 17, 31, 8, 55, 12, 2]])
    mask = torch.ones_like(ids)
    if padding:
        place = slice(-padding, None) if padding > 0 else slice(None, -padding)
        ids[:, place], mask[:, place] = 0, 0
        # BART classifies by the last end token of a row.
        ids[0, int(mask[0].nonzero().max())] = 2
    inputs = {"input_ids": ids, "attention_mask": mask}
    if family == "t5":
        inputs["decoder_input_ids"] = torch.tensor([[0, 9, 33, 4, 21, 6]])
    return inputs
