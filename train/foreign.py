"""The option names of the reference implementation, of its kin and of other trainers, and ours.

From pytorch-CycleGAN-and-pix2pix's ``options/`` and ``models/pix2pix_model.py``, the Torch code of
the paper (``train.lua``), pix2pixHD's and CUT's ``options/``, the training scripts of diffusers,
and the arguments of Keras's ``fit``.
"""

from __future__ import annotations

import re

DATA_FROM = "DATA, the command's first argument"
RUN_IN = "RUN, the command's second argument"
NONE = "leave it out"
COLUMNS = "a or b, the columns of a manifest (pairs.csv)"

KEYS = {
    "crop_size": "size", "fine_size": "size", "image_size": "size", "img_size": "size",
    "resolution": "size",
    "load_width": "load_size", "scale_width": "load_size", "resize": "load_size",
    "input_nc": "in_channels", "output_nc": "out_channels", "label_nc": "in_channels",
    "input_channels": "in_channels", "output_channels": "out_channels", "channels":
    "in_channels and out_channels",
    "netg": "generator and downs: unet_256 is downs=8, unet_128 downs=7; resnet_9blocks is "
    "generator=resnet, resnet_6blocks blocks=6 besides; global is generator=pix2pixhd-global",
    "netd": "patch: basic is patch=70, pixel patch=1",
    "n_layers_d": "patch: 1 layer is patch=16, 2 are 34, 3 are 70, 4 are 142, 5 are 286",
    "num_d": "scales",
    "num_downs": "downs", "n_downsample_global": "downs", "num_layers": "downs",
    "n_epochs": "epochs, which counts the falling ones too: n_epochs + n_epochs_decay",
    "n_epochs_decay": "decay_epochs",
    "niter": "epochs, which counts the falling ones too: niter + niter_decay",
    "niter_decay": "decay_epochs",
    "num_epochs": "epochs", "max_epochs": "epochs", "nepochs": "epochs",
    "lambda_l1": "lambda_l1", "lambda_a": "lambda_l1; cycles are CycleGAN's",
    "lambda_b": "lambda_l1; cycles are CycleGAN's", "lambda": "lambda_l1", "l1_weight": "lambda_l1",
    "l1_lambda": "lambda_l1", "lambda_identity": f"{NONE}: it is CycleGAN's",
    "lambda_feat": "lambda_features",
    "no_ganfeat_loss": "lambda_features=0, the default",
    "no_vgg_loss": "lambda_perceptual=0, the default",
    "lambda_vgg": "lambda_perceptual", "lambda_lpips": "lambda_perceptual",
    "pool_size": f"{NONE}: pix2pix uses no pool (0)",
    "no_lsgan": "gan_mode=vanilla", "use_lsgan": "gan_mode=lsgan", "use_gan": "lambda_gan",
    "gan_loss": "gan_mode", "gan_type": "gan_mode", "loss": "gan_mode",
    "preprocess": "fit and load_size: resize_and_crop is fit=resize, crop is fit=tile",
    "resize_or_crop": "fit and load_size: resize_and_crop is fit=resize, crop is fit=tile",
    "no_flip": "flip=false", "no_dropout": "dropout=false", "use_dropout": "dropout",
    "condition_gan": "conditional",
    "which_direction": "direction", "norm_g": "norm", "norm_d": "disc_norm",
    "norm_layer": "norm and disc_norm",
    "learning_rate": "lr", "lr_g": "lr", "beta_1": "beta1", "beta_2": "beta2", "betas":
    "beta1 and beta2",
    "batch": "batch_size", "bs": "batch_size", "minibatch": "batch_size",
    "gradient_accumulation_steps": "accumulate", "ema_decay": "ema",
    "lr_policy": f"{NONE}: the rate falls linearly over decay_epochs",
    "lr_decay_iters": f"{NONE}: the rate falls linearly over decay_epochs",
    "init_type": f"{NONE}: weights are drawn as in the paper (normal, 0.02)",
    "init_gain": f"{NONE}: weights are drawn as in the paper (normal, 0.02)",
    "fp16": "precision=fp16", "amp": "precision", "bf16": "precision=bf16",
    "mixed_precision": "precision",
    "checkpoint": "init", "pretrained": "init", "load_pretrain": "init", "resume": "init, or "
    "the same command again, which goes on with its run",
    "continue_train": f"{NONE}: the same command goes on with its run",
    "epoch_count": f"{NONE}: the same command goes on with its run",
    "load_iter": f"{NONE}: the same command goes on with its run",
    "which_epoch": f"{NONE}: the same command goes on with its run",
    "epoch": "epochs", "val_split": "val_fraction", "validation_split": "val_fraction",
    "dataroot": DATA_FROM, "data_dir": DATA_FROM, "data": DATA_FROM, "dataset": DATA_FROM,
    "checkpoints_dir": RUN_IN, "results_dir": RUN_IN, "output_dir": RUN_IN, "out_dir": RUN_IN,
    "gpu_ids": "the option --device, and CUDA_VISIBLE_DEVICES",
    "num_threads": "the option --workers", "nthreads": "the option --workers",
    "num_workers": "the option --workers",
    "save_epoch_freq": "the option --every, in steps", "save_latest_freq": "the option --every",
    "print_freq": f"{NONE}", "display_freq": "the option --every",
    "phase": "evaluate's option --split", "serial_batches": f"{NONE}: each epoch is shuffled",
    "dataset_mode": f"{NONE}: the layout is found from the names (docs/data.md)",
    "model": f"{NONE}: it is pix2pix", "max_dataset_size": f"{NONE}: all pairs are used",
    "num_train_epochs": "epochs", "train_batch_size": "batch_size",
    "per_device_train_batch_size": "batch_size",
    "max_train_steps": "epochs, which counts passes over the data, not steps",
    "max_steps": "epochs, which counts passes over the data, not steps",
    "num_steps": "epochs, which counts passes over the data, not steps",
    "train_steps": "epochs, which counts passes over the data, not steps",
    "loss_type": "gan_mode",
    "total_steps": "epochs, which counts passes over the data, not steps",
    "adam_beta1": "beta1", "adam_beta2": "beta2", "use_ema": "ema, such as 0.999",
    "checkpointing_steps": "the option --every", "save_steps": "the option --every",
    "save_freq": "the option --every", "evaluation_freq": "the option --every",
    "save_by_iter": "the option --every", "validation_steps": "the option --every",
    "validation_epochs": "the option --every, in steps",
    "checkpoints_total_limit": "the option --keep", "save_total_limit": "the option --keep",
    "dataloader_num_workers": "the option --workers", "random_flip": "flip",
    "train_data_dir": DATA_FROM, "dataset_name": DATA_FROM, "dataset_path": DATA_FROM,
    "logging_dir": RUN_IN, "log_dir": RUN_IN, "save_dir": RUN_IN,
    "pretrained_model_name_or_path": "init", "pretrained_name": "init",
    "validation_data": "a directory val/ in DATA",
    "image_column": COLUMNS, "conditioning_image_column": COLUMNS,
    "original_image_column": COLUMNS, "edited_image_column": COLUMNS,
    "caption_column": f"{NONE}: there is no text",
    "edit_prompt_column": f"{NONE}: there is no text",
    "img_width": "size", "img_height": "size", "image_width": "size", "image_height": "size",
    "img_rows": "size", "img_cols": "size", "width": "size", "height": "size",
    "filters": "ngf", "gf": "ngf", "df": "ndf", "gf_dim": "ngf", "df_dim": "ndf",
    "norm_type": "norm and disc_norm", "normalization": "norm and disc_norm",
    "no_instance": f"{NONE}: instance maps are pix2pixHD's",
    "n_blocks": "blocks", "n_blocks_global": "blocks", "n_local_enhancers": f"{NONE}: pix2pixHD's",
}  # fmt: skip
"""Their names, in lower case with ``_`` between words, and what to say here."""

LEFT_OUT = {
    "": """
    adam_epsilon adam_weight_decay weight_decay max_grad_norm gradient_checkpointing scale_lr
    snr_gamma use_8bit_adam allow_tf32 push_to_hub hub_token hub_model_id cache_dir revision
    variant non_ema_revision noise_offset conditioning_dropout_prob proportion_empty_prompts
    set_grads_to_none validation_prompt enable_xformers_memory_efficient_attention
    tracker_project_name center_crop local_rank eval_batch_size momentum clipnorm metrics
    callbacks verbose kernel_size z_dim latent_dim
    """,
    ": pix2pixHD's": """
    n_blocks_local niter_fix_global use_encoder_features instance_feat label_feat feat_num
    load_features nef n_clusters n_downsample_e data_type
    """,
    ": CUT's": """
    cut_mode lambda_nce nce_idt nce_layers nce_includes_all_negatives_from_minibatch netf
    netf_nc nce_t num_patches flip_equivariance antialias no_antialias no_antialias_up
    stylegan2_g_num_downsampling random_scale_max easy_label
    """,
    ": each epoch is shuffled, and has each pair once": "shuffle buffer_size steps_per_epoch",
    ": the rate falls linearly over decay_epochs": """
    lr_scheduler lr_warmup_steps lr_num_cycles lr_power lr_scheduler_type warmup_steps
    """,
    ": the optimiser is Adam": "optimizer optimiser optim",
    ": the same command goes on with its run": "resume_from_checkpoint initial_epoch start_epoch",
    ": all pairs are used": "max_train_samples how_many ntest num_test",
    ": RUN has TensorBoard's records and a report": """
    report_to tf_log no_html use_wandb wandb_project_name update_html_freq display_id display_port
    display_server display_env display_ncols display_winsize log_with logger
    """,
}
"""Options that have no like here, by what is to be said of them."""

KEYS |= {name: f"{NONE}{why}" for why, names in LEFT_OUT.items() for name in names.split()}

VALUES = {
    ("generator", "unet_256"): "unet, and downs=8", ("generator", "unet_128"): "unet, and downs=7",
    ("generator", "resnet_9blocks"): "resnet",
    ("generator", "resnet_6blocks"): "resnet, and blocks=6",
    ("generator", "global"): "pix2pixhd-global",
    ("norm", "batch"): "batch-statistics, which the reference's batch norm is at its batch of 1, "
    "or running-statistics",
    ("disc_norm", "batch-statistics"): "batch",
    ("disc_norm", "running-statistics"): "batch",
    ("gan_mode", "bce"): "vanilla", ("gan_mode", "gan"): "vanilla",
    ("gan_mode", "original"): "vanilla", ("gan_mode", "ls"): "lsgan",
    ("gan_mode", "mse"): "lsgan", ("gan_mode", "wgan-gp"): "wgangp", ("gan_mode", "wgan"): "wgangp",
    ("direction", "a2b"): "AtoB", ("direction", "b2a"): "BtoA",
    ("precision", "amp"): "auto", ("precision", "float16"): "fp16",
    ("precision", "float32"): "fp32", ("precision", "bfloat16"): "bf16",
    ("precision", "16"): "fp16", ("precision", "32"): "fp32",
    ("fit", "crop"): "tile", ("fit", "resize_and_crop"): "resize", ("fit", "none"): "tile",
    ("fit", "scale_width"): "resize",
    ("patch", "basic"): "70", ("patch", "pixel"): "1",
    ("upsample", "bilinear"): "smooth", ("upsample", "nearest"): "resize",
}  # fmt: skip


def explain_key(key: str) -> str:
    """What another trainer's option is here, in brackets, or nothing."""
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", key.replace("-", "_"))
    for form in (key.lower().replace("-", "_"), words.lower()):
        if form in KEYS:
            ours = KEYS[form]
            said = ours if ours.startswith((NONE, "the ", "evaluate")) else f"here it is {ours}"
            return f" ({said})"
    return ""


def explain_value(key: str, value: object) -> str:
    """What another trainer's value is here, in brackets, or nothing."""
    ours = VALUES.get((key, str(value).lower()), "")
    return f" (say {ours})" if ours else ""
