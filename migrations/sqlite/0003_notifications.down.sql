DROP TABLE notifications;
DROP TABLE notification_cursors;
