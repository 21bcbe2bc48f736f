//! The words of messages in each language.

use aint_queue_core::condition::Field;

use super::super::notification::{Alert, AlertStatus};
use crate::config::alerts::{Language, Severity};

/// The words of a language.
pub(super) struct Words {
    language: Language,
    pub(super) firing: &'static str,
    pub(super) resolved: &'static str,
    pub(super) why: &'static str,
    pub(super) since: &'static str,
    pub(super) ended: &'static str,
    pub(super) host: &'static str,
    pub(super) time: &'static str,
    pub(super) commands: &'static str,
    pub(super) open: &'static str,
    pub(super) unknown: &'static str,
    pub(super) yes: &'static str,
    pub(super) no: &'static str,
    /// Days, hours, minutes, seconds.
    pub(super) units: [&'static str; 4],
}

const ENGLISH: Words = Words {
    language: Language::English,
    firing: "FIRING",
    resolved: "RESOLVED",
    why: "Why",
    since: "Since",
    ended: "Ended",
    host: "Host",
    time: "Time",
    commands: "Commands",
    open: "Open the channel",
    unknown: "unknown",
    yes: "yes",
    no: "no",
    units: ["d", "h", "min", "s"],
};

const CHINESE: Words = Words {
    language: Language::Chinese,
    firing: "告警",
    resolved: "恢复",
    why: "原因",
    since: "开始时间",
    ended: "结束时间",
    host: "主机",
    time: "时间",
    commands: "命令",
    open: "打开队列",
    unknown: "未知",
    yes: "是",
    no: "否",
    units: ["天", "小时", "分钟", "秒"],
};

impl Words {
    pub(super) fn of(language: Language) -> Self {
        match language {
            Language::English => ENGLISH,
            Language::Chinese => CHINESE,
        }
    }

    pub(super) fn is_chinese(&self) -> bool {
        self.language == Language::Chinese
    }

    pub(super) fn severity(&self, severity: Severity) -> &'static str {
        match (self.language, severity) {
            (Language::English, severity) => severity.as_str(),
            (Language::Chinese, Severity::Critical) => "严重",
            (Language::Chinese, Severity::Warning) => "警告",
            (Language::Chinese, Severity::Info) => "提示",
        }
    }

    /// The reason of an alert: its condition, which holds or no longer does.
    pub(super) fn why_sentence(&self, alert: &Alert) -> String {
        let condition = &alert.condition;
        match (self.language, alert.status) {
            (Language::English, AlertStatus::Firing) => format!("{condition} holds"),
            (Language::English, AlertStatus::Resolved(_)) => format!("{condition} no longer holds"),
            (Language::Chinese, AlertStatus::Firing) => format!("满足条件 {condition}"),
            (Language::Chinese, AlertStatus::Resolved(_)) => format!("不再满足条件 {condition}"),
        }
    }

    /// A value for a title: `1,204 waiting`, `oldest_waiting 12 min`.
    pub(super) fn measured(&self, field: Field, value: &str) -> String {
        match (self.language, field) {
            (Language::English, Field::Waiting | Field::Delayed | Field::Reserved | Field::Failed) => {
                format!("{value} {}", field.name())
            }
            _ => format!("{} {value}", self.field(field)),
        }
    }

    pub(super) fn after(&self, duration: &str) -> String {
        match self.language {
            Language::English => format!("after {duration}"),
            Language::Chinese => format!("持续 {duration}"),
        }
    }

    pub(super) fn more(&self, count: usize) -> String {
        match (self.language, count) {
            (Language::English, 1) => "1 more alert is not shown.".to_owned(),
            (Language::English, count) => format!("{count} more alerts are not shown."),
            (Language::Chinese, count) => format!("另有 {count} 条告警未显示。"),
        }
    }

    /// The name of a value: in English that of conditions.
    pub(super) fn field(&self, field: Field) -> &'static str {
        if self.language == Language::English {
            return field.name();
        }
        match field {
            Field::Waiting => "等待",
            Field::Delayed => "延迟",
            Field::Reserved => "处理中",
            Field::Failed => "失败",
            Field::Total => "总数",
            Field::StoredBytes => "存储大小",
            Field::OldestWaiting => "最长等待",
            Field::NextDue => "下次到期",
            Field::Paused => "已暂停",
            Field::RateIn => "入队速率",
            Field::RateOut => "完成速率",
            Field::FailureRate => "失败率",
            Field::WorkersBusy => "忙碌进程",
            Field::WorkersMax => "最大进程数",
            Field::WorkersMemory => "进程内存",
            Field::LongestRun => "最长运行",
            Field::StuckSlots => "卡住的任务",
            Field::StoreDownFor => "存储不可用时长",
            Field::Degraded => "降级",
            // Percentiles and technical counts keep the names of conditions.
            _ => field.name(),
        }
    }
}
